#!/usr/bin/env bash
# Builds Trivy into the folder that is named, from source and in one version, which takes some minutes.
# In March 2026 the tags of its actions were moved to a thief of credentials, and a release of its binaries and images
# was one (GHSA-69fq-xp46-6x23). Of a Go module's version there is one content for ever, that of the public checksum
# database, and `go` checks every module of the build against it.
set -euo pipefail

version=0.67.2
mkdir -p "$1"
folder=$(cd "$1" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
export GOTMPDIR=$scratch # a build that is ended leaves a gigabyte there
printf 'module scratch\ngo 1.25.0\ntoolchain go1.25.5\nrequire github.com/aquasecurity/trivy v%s\n' "$version" > go.mod
# Trivy needs an experiment of Go 1.25. An older go fetches that by itself, but crashes if it sees the experiment.
go=$(go env GOROOT)/bin/go
# Compiled once: without symbols for a debugger, which -s leaves out anyway, and with less time spent on memory.
CGO_ENABLED=0 GOEXPERIMENT=jsonv2 GOFLAGS=-mod=mod GOGC=400 "$go" build -trimpath -gcflags=all=-dwarf=false \
  -o "$folder/trivy" -ldflags "-s -w -X github.com/aquasecurity/trivy/pkg/version/app.ver=$version" github.com/aquasecurity/trivy/cmd/trivy
