//! Files that name dependencies: whether an image's changed.

use camino::Utf8Path;

use crate::config::Build;
use crate::facts::content::Content;
use crate::facts::{Changed, Dockerfile, dockerfile, installs};
use crate::glob;

/// Lock, requirements and project files by what reads them, with where that says so. A name counts in any folder, and a
/// pattern with a `/` is the end of a path.
const NAMES: [(&str, &str); 41] = [
    // https://pip.pypa.io/en/stable/reference/requirements-file-format/
    ("pip", "*requirements*.txt *requirements*.in requirements/**.txt requirements/**.in"),
    // https://pip.pypa.io/en/stable/user_guide/#constraints-files
    ("pip constraints", "*constraints*.txt constraints/**.txt"),
    // https://packaging.python.org/en/latest/specifications/pyproject-toml/ and …/pylock-toml/
    ("python projects", "pyproject.toml pylock*.toml .python-version"),
    // https://setuptools.pypa.io/en/latest/userguide/dependency_management.html
    ("setuptools", "setup.py setup.cfg"),
    // https://pipenv.pypa.io, https://docs.astral.sh/uv, https://python-poetry.org, https://pdm-project.org, https://hatch.pypa.io
    ("pipenv, uv, poetry, pdm, hatch", "Pipfile Pipfile.lock uv.toml uv.lock poetry.lock pdm.lock hatch.toml"),
    // https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html, https://conda.github.io/conda-lock
    ("conda", "environment*.yml environment*.yaml *conda-lock.yml conda-*.lock"),
    // https://pixi.sh/latest/reference/pixi_manifest/
    ("pixi", "pixi.toml pixi.lock"),
    // https://docs.npmjs.com/cli/configuring-npm, https://nodejs.org
    ("npm", "package.json package-lock.json npm-shrinkwrap.json .nvmrc .node-version"),
    // https://pnpm.io/pnpm-workspace_yaml, https://pnpm.io/pnpmfile
    ("pnpm", "pnpm-lock.yaml pnpm-workspace.yaml .pnpmfile.cjs"),
    // https://yarnpkg.com/configuration/yarnrc
    ("yarn", "yarn.lock .yarnrc.yml"),
    // https://bun.sh/docs/pm/lockfile
    ("bun", "bun.lock bun.lockb"),
    // https://docs.deno.com/runtime/fundamentals/configuration/
    ("deno", "deno.json deno.jsonc deno.lock import_map.json"),
    // https://go.dev/ref/mod#go-mod-file and #workspaces
    ("go", "go.mod go.sum go.work go.work.sum vendor/modules.txt"),
    // https://doc.rust-lang.org/cargo/reference/manifest.html, https://rust-lang.github.io/rustup/overrides.html
    ("cargo", "Cargo.toml Cargo.lock rust-toolchain rust-toolchain.toml"),
    // https://bundler.io/man/gemfile.5.html
    ("bundler", "Gemfile *.gemfile gems.rb gems.locked *.gemspec .ruby-version"),
    // https://getcomposer.org/doc/04-schema.md
    ("composer", "composer.json composer.lock symfony.lock"),
    // https://learn.microsoft.com/nuget/consume-packages/package-references-in-project-files
    ("nuget", "*.csproj *.fsproj *.vbproj packages.config packages.lock.json nuget.config NuGet.config NuGet.Config"),
    // https://learn.microsoft.com/nuget/consume-packages/central-package-management, https://learn.microsoft.com/visualstudio/msbuild
    ("msbuild", "Directory.Packages.props Directory.Build.props Directory.Build.targets"),
    // https://learn.microsoft.com/dotnet/core/tools/global-json and …/local-tools-how-to-use
    ("dotnet", "global.json dotnet-tools.json"),
    // https://fsprojects.github.io/Paket/dependencies-file.html
    ("paket", "paket.dependencies paket.references paket.lock"),
    // https://maven.apache.org/pom.html, https://maven.apache.org/guides/mini/guide-using-extensions.html
    ("maven", "pom.xml .mvn/extensions.xml maven-wrapper.properties ivy.xml"),
    // https://docs.gradle.org/current/userguide/dependency_locking.html and …/version_catalogs.html
    ("gradle", "*.gradle *.gradle.kts gradle.properties *.versions.toml *.lockfile gradle-wrapper.properties"),
    // https://docs.gradle.org/current/userguide/dependency_verification.html
    ("gradle verification", "gradle/verification-metadata.xml"),
    // https://www.scala-sbt.org/1.x/docs/Library-Dependencies.html, https://mill-build.org
    ("sbt, mill", "*.sbt project/build.properties project/*.scala build.sc build.mill"),
    // https://leiningen.org, https://clojure.org/reference/deps_edn
    ("clojure", "project.clj deps.edn"),
    // https://docs.swift.org/swiftpm, https://guides.cocoapods.org, https://github.com/Carthage/Carthage
    ("swift", "Package.swift Package.resolved Podfile Podfile.lock *.podspec Cartfile Cartfile.resolved"),
    // https://docs.conan.io/2/reference/conanfile.html, https://learn.microsoft.com/vcpkg/reference/vcpkg-json
    ("c, c++", "conanfile.py conanfile.txt conan.lock vcpkg.json vcpkg-configuration.json *.wrap"),
    // https://bazel.build/external/module
    ("bazel", "MODULE.bazel MODULE.bazel.lock WORKSPACE WORKSPACE.bazel .bazelversion maven_install.json"),
    // https://hexdocs.pm/mix/Mix.Tasks.Deps.html, https://rebar3.org/docs/configuration/dependencies
    ("elixir, erlang", "mix.exs mix.lock rebar.config rebar.lock"),
    // https://r-pkgs.org/description.html, https://rstudio.github.io/renv/articles/lockfile.html
    ("r", "DESCRIPTION renv.lock packrat.lock"),
    // https://pkgdocs.julialang.org/v1/toml-files/
    ("julia", "Project.toml Manifest*.toml JuliaProject.toml JuliaManifest*.toml"),
    // https://dart.dev/tools/pub/pubspec
    ("dart", "pubspec.yaml pubspec.lock pubspec_overrides.yaml"),
    // https://docs.haskellstack.org, https://cabal.readthedocs.io
    ("haskell", "stack.yaml stack.yaml.lock *.cabal cabal.project cabal.project.freeze package.yaml"),
    // https://opam.ocaml.org/doc/Manual.html, https://dune.readthedocs.io
    ("ocaml", "*.opam *.opam.locked dune-project"),
    // https://metacpan.org/pod/cpanfile, https://github.com/luarocks/luarocks/wiki/Rockspec-format
    ("perl, lua", "cpanfile cpanfile.snapshot *.rockspec"),
    // https://ziglang.org, https://crystal-lang.org/reference/man/shards, https://nim-lang.github.io/nimble, https://dub.pm
    ("zig, crystal, nim, d", "build.zig.zon shard.yml shard.lock *.nimble dub.json dub.sdl dub.selections.json"),
    // https://helm.sh/docs/topics/charts/, https://docs.ansible.com/ansible/latest/galaxy/user_guide.html
    ("helm, ansible", "Chart.yaml Chart.lock requirements.yml requirements.yaml galaxy.yml"),
    // https://developer.hashicorp.com/terraform/language/files/dependency-lock
    ("terraform", ".terraform.lock.hcl"),
    // https://nix.dev/concepts/flakes, https://github.com/nmattia/niv, https://www.jetify.com/devbox
    ("nix", "flake.nix flake.lock nix/sources.json npins/sources.json devbox.json devbox.lock"),
    // https://mise.jdx.dev/configuration.html, https://asdf-vm.com/manage/configuration.html
    ("mise, asdf", "mise.toml .mise.toml mise.*.toml mise/config.toml mise.lock .tool-versions"),
    // Whatever else calls its lock file so.
    ("others", "*.lock Brewfile Brewfile.lock.json Aptfile debian/control"),
];

/// Whether a dependency file of this build changed, and why we say so. Unknown counts as changed.
///
/// The files are those of `dependencies`, else the lock, requirements and project files among what the image takes.
pub fn changed_for(build: &Build, dockerfile: Option<&Dockerfile>, content: Option<&Content>, since: &Changed) -> (bool, String) {
    let files = match since {
        Changed::Unknown(why) => return (true, format!("whether dependencies changed is not known ({why})")),
        Changed::Files(files) => files,
    };
    let mut dependencies = files.iter().filter(|file| is_dependency(build, dockerfile, content, file));
    match (dependencies.next(), dependencies.count()) {
        (None, _) => (false, "no dependency file changed".into()),
        (Some(file), 0) => (true, format!("the dependency file {file} changed")),
        (Some(file), more) => (true, format!("the dependency file {file} and {more} more changed")),
    }
}

fn is_dependency(build: &Build, dockerfile: Option<&Dockerfile>, content: Option<&Content>, file: &Utf8Path) -> bool {
    match &build.dependencies {
        Some(patterns) => glob::matches_any(patterns, file.as_str()),
        None => {
            let is_known = || is_dependency_name(file) || is_installed(build, dockerfile, file);
            dockerfile::takes(&build.context, dockerfile, content, file) && is_known()
        }
    }
}

/// Whether an install step of the Dockerfile names it.
fn is_installed(build: &Build, dockerfile: Option<&Dockerfile>, file: &Utf8Path) -> bool {
    let inside = if build.context == "." { Some(file) } else { file.strip_prefix(&build.context).ok() };
    dockerfile.zip(inside).is_some_and(|(dockerfile, inside)| installs::names(&dockerfile.installs, inside))
}

fn is_dependency_name(file: &Utf8Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    let matches = |pattern: &str| match pattern.contains('/') {
        true => glob::matches_any(&[pattern, &format!("**/{pattern}")], file.as_str()),
        false => glob::matches_any(&[pattern], name),
    };
    NAMES.iter().flat_map(|(_, patterns)| patterns.split_whitespace()).any(matches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dependency_files() {
        let yes = "requirements.txt a/requirements-dev.txt dev-requirements.txt requirements/base.txt a/requirements/x/y.txt uv.lock \
            go.sum app/package.json poetry.lock Pipfile.lock setup.cfg environment-gpu.yml Cargo.lock yarn.lock Gemfile a/b.csproj \
            Directory.Packages.props src/Directory.Build.props paket.dependencies pnpm-workspace.yaml go.work go.work.sum \
            conda-lock.yml gpu.conda-lock.yml pixi.toml pixi.lock environment.yml constraints/py311.txt constraints-3.11.txt \
            a/pip-constraints.txt requirements/base.in vcpkg.json deno.json deno.jsonc deno.lock pubspec.yaml build.sbt \
            project/plugins.sbt project/Dependencies.scala mise.toml .tool-versions composer.json mix.exs mix.lock pdm.lock \
            hatch.toml flake.nix bun.lock gradle/libs.versions.toml gradle/dependency-locks/compileClasspath.lockfile pom.xml \
            .mvn/extensions.xml a/.mvn/extensions.xml app/settings.gradle.kts global.json .config/dotnet-tools.json Package.swift \
            Package.resolved conanfile.txt charts/web/Chart.yaml MODULE.bazel renv.lock Manifest-v1.11.toml vendor/modules.txt";
        let no = "README.md src/main.py notes.txt Dockerfile requirements.md requirements/README.md setup.pyc lock xpackage.json \
            constraints/README.md src/constraints.py go.work.md vcpkg.md project/README.md src/Main.scala environment.ts \
            docs/pixi.md src/extensions.xml appsettings.json tsconfig.json .dockerignore config/app.toml src/sources.json \
            docker-compose.yml control values.yaml modules.txt locks.txt a.lock.md";
        for (names, expected) in [(yes, true), (no, false)] {
            for name in names.split_whitespace() {
                assert_eq!(is_dependency_name(name.into()), expected, "{name}");
            }
        }
    }

    fn build(dependencies: Option<&[&str]>) -> Build {
        let example = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/release");
        let config = crate::config::load(&example, Utf8Path::new("docker/images.toml"), &crate::config::Env::new()).unwrap();
        let mut build = config.builds[0].clone();
        build.context = "app".into();
        build.dependencies = dependencies.map(|patterns| patterns.iter().map(|&pattern| pattern.into()).collect());
        build
    }

    #[test]
    fn which_changes_count() {
        let sources = |sources: Option<&[&str]>| Dockerfile {
            sources: sources.map(|all| all.iter().map(|&source| source.into()).collect()),
            ..Dockerfile::default()
        };
        let (some, all) = (sources(Some(&["src", "requirements*.txt"])), sources(None));
        let named = Dockerfile { installs: vec!["src/prod.lst".into(), "other/prod.lst".into()], ..some.clone() };
        let files = |names: &[&str]| Changed::Files(names.iter().map(|&name| name.into()).collect());
        let table = [
            (None, Some(&some), files(&["app/requirements.txt"]), Some("the dependency file app/requirements.txt changed")),
            (
                None,
                Some(&some),
                files(&["app/src/a.py", "app/src/uv.lock", "app/requirements.txt"]),
                Some("the dependency file app/src/uv.lock and 1 more changed"),
            ),
            (None, Some(&some), files(&["requirements.txt", "app/uv.lock", "app/src/a.py"]), None),
            (None, Some(&all), files(&["app/uv.lock"]), Some("the dependency file app/uv.lock changed")),
            (None, None, files(&["app/uv.lock"]), Some("the dependency file app/uv.lock changed")),
            (None, None, files(&["uv.lock"]), None),
            (
                Some(&["deps/**", "!deps/*.md"][..]),
                Some(&some),
                files(&["deps/a", "app/requirements.txt"]),
                Some("the dependency file deps/a changed"),
            ),
            (Some(&["deps/**", "!deps/*.md"]), Some(&some), files(&["deps/a.md"]), None),
            (Some(&[]), Some(&some), files(&["app/requirements.txt"]), None),
            (None, Some(&some), files(&[]), None),
            (None, Some(&named), files(&["app/src/prod.lst"]), Some("the dependency file app/src/prod.lst changed")),
            (None, Some(&named), files(&["src/prod.lst", "app/src/dev.lst", "app/other/prod.lst", "app/src/README.md"]), None),
            (None, Some(&some), Changed::Unknown("no git".into()), Some("whether dependencies changed is not known (no git)")),
        ];
        for (dependencies, dockerfile, since, reason) in table {
            let verdict = changed_for(&build(dependencies), dockerfile, None, &since);
            assert_eq!(verdict, (reason.is_some(), reason.unwrap_or("no dependency file changed").to_owned()), "{since:?}");
        }
    }
}
