#!/usr/bin/env bash
# What a job of GitHub's needs before it builds or publishes images: containerd's image store, which can export caches
# and push what it loads; crane, which lists and deletes tags; Trivy, where the job has fetched it.
set -euo pipefail

settings=/etc/docker/daemon.json
[ -s "$settings" ] || echo '{}' | sudo tee "$settings" >/dev/null
jq '.features."containerd-snapshotter" = true' "$settings" > "$RUNNER_TEMP/daemon.json"
sudo cp "$RUNNER_TEMP/daemon.json" "$settings"
sudo systemctl restart docker

GOBIN="$RUNNER_TEMP" go install github.com/google/go-containerregistry/cmd/crane@v0.20.6
sudo install "$RUNNER_TEMP/crane" /usr/local/bin/

# An artifact of the same run, see trivy.sh: it has lost the bit that makes it a program.
[ ! -f "$RUNNER_TEMP/trivy" ] || sudo install "$RUNNER_TEMP/trivy" /usr/local/bin/
