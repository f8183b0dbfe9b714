//! A frontend of BuildKit with the instructions that its stable one lacks, as an image in the sandbox's registry.

use std::path::Path;
use std::process::Command;

use crate::clone::Ran;

/// What `# syntax=` names; docker.io's mirror has it.
pub const NAME: &str = "docker/dockerfile:1.19-labs";

/// The version of BuildKit whose frontend it is.
const VERSION: &str = "v0.25.2";
const PACKAGE: &str = "github.com/moby/buildkit/frontend/dockerfile/cmd/dockerfile-frontend";
const DOCKERFILE: &str = "FROM scratch
COPY dockerfile-frontend /bin/
LABEL moby.buildkit.frontend.network.none=true
LABEL moby.buildkit.frontend.caps=moby.buildkit.frontend.inputs,moby.buildkit.frontend.subrequests,moby.buildkit.frontend.contexts
ENTRYPOINT [\"/bin/dockerfile-frontend\"]
";

/// Compiles and pushes it where the registry does not have it. `exports`: the engine's environment, as lines for a shell.
pub fn serve(exports: &str) {
    let folder = tempfile::tempdir().unwrap();
    let sh = |line: &str| run(folder.path(), &format!("{exports}{line}"));
    let name = format!("$SLIPWAY_REGISTRY/{NAME}");
    if sh(&format!("crane digest {name}")).code == Some(0) {
        return;
    }
    eprintln!("compiling the frontend of BuildKit {VERSION} from the Go module proxy, about two minutes");
    std::fs::write(folder.path().join("Dockerfile"), DOCKERFILE).unwrap();
    let go = "export CGO_ENABLED=0 GOWORK=off";
    sh(&format!("{go}; go mod init scratch && go get {PACKAGE}@{VERSION}")).expect(0);
    sh(&format!("{go}; go build -trimpath -tags dfparents -ldflags '-s -w' {PACKAGE}")).expect(0);
    let output = format!("type=image,push=true,store=false,unpack=false,name={name}");
    sh(&format!("docker buildx build --quiet --provenance=false --output \"{output}\" .")).expect(0);
}

fn run(folder: &Path, line: &str) -> Ran {
    Command::new("sh").args(["-c", line]).current_dir(folder).output().unwrap().into()
}
