//! The directives of a template count in the Dockerfile that is generated of it: asked of BuildKit.

use crate::clone::Ran;
use crate::frontend;
use crate::tiny::{IMAGES, Tiny};

/// Generates the Dockerfiles of a template, and builds the first.
fn build(tiny: &Tiny, template: &str) -> Ran {
    tiny.write("docker/Dockerfile.j2", template);
    let xtask = |args: &[&str]| -> Ran { tiny.command(args).output().unwrap().into() };
    xtask(&["gen-dockerfiles"]).expect(0);
    xtask(&["gen-dockerfiles", "--check"]).expect(0);
    tiny.engine("docker buildx build --progress plain --output type=cacheonly --file docker/dockerfiles/Dockerfile.a .")
}

#[test]
fn directives_of_a_template_count() {
    let tiny = Tiny::new();
    frontend::serve(&tiny.exports);
    let images =
        IMAGES.replace("NAMESPACE", &tiny.namespace).replace("variant =", "template = \"docker/Dockerfile.j2\"\nvariant =");
    tiny.write("docker/images.toml", &images);
    tiny.write("VERSION", "v0.1.0");

    build(&tiny, &format!("# syntax={}\nFROM scratch\nCOPY --parents docker/Dockerfile.j2 /\n", frontend::NAME)).expect(0);
    let without = build(&tiny, "FROM scratch\nCOPY --parents docker/Dockerfile.j2 /\n").expect(1);
    assert!(without.stderr.contains("unknown flag: --parents"), "{}", without.stderr);
    build(&tiny, &format!("#!/x\n#SYNTAX = {}\nFROM scratch\nCOPY --parents VERSION* docker /\n", frontend::NAME)).expect(0);
    build(&tiny, "# check=skip=all\n  # escape=`\nFROM scratch\nENV A=C:\\\nCOPY docker `\n  /x\n").expect(0);
    let checked = build(&tiny, "# check=error=true\nFROM scratch\nCOPY docker /\nENTRYPOINT x\n").expect(1);
    assert!(checked.stderr.contains("JSONArgsRecommended"), "{}", checked.stderr);

    tiny.edit("docker/images.toml", "[\"a\", \"b\", \"c\"]", "[\"a\", \"b\"]");
    build(&tiny, "# check=error=true\nFROM scratch\nCOPY docker /\n").expect(0);
    assert!(!tiny.path().join("docker/dockerfiles/Dockerfile.c").exists(), "nothing generates it any more");
}
