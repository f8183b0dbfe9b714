#!/usr/bin/env bash
# Builds Trivy into the folder that is named, from source and in one version, which takes some minutes.
# In March 2026 the tags of its actions were moved to a thief of credentials, and a release of its binaries and images
# was one (GHSA-69fq-xp46-6x23). Of a Go module's version there is one content for ever, that of the public checksum
# database, and `go` checks every module of the build against it.
set -euo pipefail

version=0.67.2
export GOBIN=$1 CGO_ENABLED=0 GOEXPERIMENT=jsonv2
go install -trimpath -ldflags "-s -w -X github.com/aquasecurity/trivy/pkg/version/app.ver=$version" \
  "github.com/aquasecurity/trivy/cmd/trivy@v$version"
