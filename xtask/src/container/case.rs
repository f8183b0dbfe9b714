//! One test of one build as data: its image, its command, where its log goes.

use std::collections::BTreeSet;

use anyhow::Result;
use camino::{Utf8Path, Utf8PathBuf};

use crate::candidate::Platforms;
use crate::config::{Config, Test, TestKind, suggest};
use crate::docker::Container;
use crate::error::Fault;
use crate::plan::{Build, Plan};

/// Runs the words after the first two: as many as `$2` says, then prints `$1`, then becomes the rest.
///
/// Dependencies have to be installed in the very container in which the test runs, and an image has one
/// command. This script is a constant: commands are its arguments, so nothing that anybody writes is ever read
/// as shell, and `eval` sees `"${1}" "${2}" …` only. It needs a `sh` in the image; an image that has something
/// to install packages with has one. Tests without dependencies need none.
const WITH_DEPS: &str = r#"mark=$1 n=$2; shift 2; i=0; c=; while [ "$i" -lt "$n" ]; do i=$((i+1)); c="$c \"\${$i}\""; done; eval "$c" || exit; echo "$mark"; shift "$n"; exec "$@""#;

/// A test of a build, ready to run.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    pub build: &'a Build,
    pub test: &'a Test,
    /// `pytest -q /tests`, `GET :8000/health`, `HEALTHCHECK`
    pub what: String,
    /// Name and command of the set of dependencies that is installed first.
    pub deps: Option<(&'a str, &'a [String])>,
    /// Absolute.
    pub log: Utf8PathBuf,
    pub container: Container,
}

impl Case<'_> {
    /// The line that stands between the output of the dependencies and that of the test.
    pub fn mark(&self) -> String {
        format!("-- {}: dependencies installed --", self.container.name)
    }

    /// JUnit XML beside the log.
    pub fn junit(&self) -> Utf8PathBuf {
        self.log.with_extension("xml")
    }
}

/// What this machine is to containers.
pub struct Machine<'a> {
    /// Whether programs of a platform (`linux/arm64`) run here, emulated or not.
    pub runs: &'a dyn Fn(&str) -> bool,
    /// Of images of which some platforms are here, those that are.
    pub loaded: &'a Platforms,
    pub gpus: bool,
}

/// The platforms of a build that can be tested here, and those that are here and don't run.
pub fn platforms<'a>(build: &'a Build, machine: &Machine<'_>) -> (Vec<&'a str>, Vec<&'a str>) {
    let loaded = machine.loaded.get(&build.id).unwrap_or(&build.platforms);
    let here = build.platforms.iter().filter(|platform| loaded.contains(platform));
    here.map(String::as_str).partition(|platform| (machine.runs)(platform))
}

/// # Errors
/// Usage: no test has a set of dependencies of this name.
pub fn known_deps(config: &Config, name: &str) -> Result<()> {
    let sets = config.builds.iter().flat_map(|build| &build.tests).flat_map(|test| test.deps.keys());
    let sets: BTreeSet<&str> = sets.map(String::as_str).collect();
    match sets.contains(name) {
        true => Ok(()),
        false => Err(Fault::usage(format!("no test has a set of dependencies called {name} ({})", suggest(name, sets))).into()),
    }
}

/// The tests of each build of a plan that has any, for each of its platforms that runs here. `deps`: the set to install
/// where a test has it; default `ci`.
///
/// `run` tells the containers of this run from others; `passed`: whether the tests of a build passed on a platform before.
///
/// # Errors
/// Not ready: no platform of a build runs here.
pub fn cases<'a>(
    plan: &'a Plan,
    repo: &Utf8Path,
    deps: Option<&str>,
    run: u32,
    machine: &Machine<'_>,
    passed: &dyn Fn(&Build, &str) -> bool,
) -> Result<Vec<Vec<Case<'a>>>> {
    let wanted = deps.unwrap_or("ci");
    let mut all = Vec::new();
    for build in plan.builds.iter().filter(|build| !build.tests.is_empty()) {
        let (platforms, other) = platforms(build, machine);
        if platforms.is_empty() && !build.platforms.iter().any(|platform| passed(build, platform)) {
            let fault = Fault::not_ready(format!("cannot test {}: {} does not run on this machine", build.id, other.join(", ")));
            return Err(fault.hint("run `cargo xtask doctor`, which says how to get emulation").into());
        }
        let due: Vec<&str> = platforms.iter().copied().filter(|platform| !passed(build, platform)).collect();
        if due.is_empty() {
            continue;
        }
        let image = build.test.load.first().ok_or_else(|| Fault::usage(format!("the plan gives {} no local name", build.id)))?;
        let mut cases = Vec::new();
        let numbered = due.iter().flat_map(|platform| build.tests.iter().map(move |test| (platform, test)));
        for (at, (platform, test)) in numbered.enumerate() {
            let log = if *platform == platforms[0] { test.log.clone() } else { of_platform(&test.log, platform) };
            let name = format!("slipway-test-{}-{}-{run}", build.id, at + 1);
            let several = (build.platforms.len() > 1).then_some(*platform);
            let deps = test.deps.get_key_value(wanted).map(|(name, command)| (name.as_str(), command.as_slice()));
            let deps = deps.filter(|_| matches!(test.kind, TestKind::Run(_)));
            let mut case = Case {
                build,
                test,
                what: what(&test.kind) + &several.map(on).unwrap_or_default(),
                deps,
                log: repo.join(log),
                container: Container { platform: several.map(str::to_owned), ..container(test, repo, image, name, machine.gpus) },
            };
            case.container.argv = argv(&case);
            cases.push(case);
        }
        all.push(cases);
    }
    Ok(all)
}

/// `test-app.log` → `test-app.linux-arm64.log`
fn of_platform(log: &Utf8Path, platform: &str) -> Utf8PathBuf {
    log.with_extension(format!("{}.{}", platform.replace('/', "-"), log.extension().unwrap_or("log")))
}

/// The end of the name of a test on one of several platforms.
pub fn on(platform: &str) -> String {
    format!(" ({platform})")
}

fn what(kind: &TestKind) -> String {
    match kind {
        TestKind::Run(argv) => shell_words::join(argv),
        TestKind::Http { port, path } => format!("GET :{port}{path}"),
        TestKind::Healthy => "HEALTHCHECK".into(),
    }
}

fn container(test: &Test, repo: &Utf8Path, image: &str, name: String, gpus: bool) -> Container {
    Container {
        name,
        image: image.to_owned(),
        platform: None,
        checkout: repo.to_string(),
        mounts: test.mounts.iter().map(|(from, to)| (repo.join(from).to_string(), to.clone())).collect(),
        env: test.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        workdir: test.workdir.clone(),
        gpus,
        argv: Vec::new(),
        workspace: None,
        port: match test.kind {
            TestKind::Http { port, .. } => Some(port),
            TestKind::Run(_) | TestKind::Healthy => None,
        },
    }
}

fn argv(case: &Case<'_>) -> Vec<String> {
    let TestKind::Run(run) = &case.test.kind else { return Vec::new() };
    let Some((_, deps)) = case.deps else { return run.clone() };
    let script = ["sh".to_owned(), "-c".into(), WITH_DEPS.into(), "sh".into(), case.mark(), deps.len().to_string()];
    script.into_iter().chain(deps.iter().cloned()).chain(run.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::Cmd;
    use crate::exec::Runner;
    use crate::plan::testing::{build, plan};
    use std::time::Duration;

    const HERE: Machine<'static> =
        Machine { runs: &|platform| platform != "linux/s390x", loaded: &Platforms::new(), gpus: false };

    fn words(text: &str) -> Vec<String> {
        shell_words::split(text).unwrap()
    }

    fn test(kind: TestKind) -> Test {
        Test {
            kind,
            mounts: vec![("docker/tests".into(), "/tests".into())],
            deps: [("ci".to_owned(), words("pip install -q pytest"))].into(),
            env: [("A".to_owned(), "b".to_owned())].into(),
            workdir: None,
            log: "tests/logs/a.log".into(),
            timeout: Duration::from_secs(60),
        }
    }

    fn tested(kinds: Vec<TestKind>) -> Plan {
        let mut one = build("a");
        one.tests = kinds.into_iter().map(test).collect();
        plan(vec![one, build("untested")])
    }

    #[test]
    fn a_test_sees_its_mounts_and_nothing_else() {
        let plan = tested(vec![TestKind::Run(words("pytest -q")), TestKind::Http { port: 80, path: "/h".into() }]);
        let cases = cases(&plan, "/repo".into(), None, 7, &HERE, &|_, _| false).unwrap();
        assert_eq!(cases.len(), 1, "an image without tests has no case");
        let (run, http) = (&cases[0][0], &cases[0][1]);
        assert_eq!(run.container.mounts, [("/repo/docker/tests".into(), "/tests".into())]);
        assert_eq!(run.container.name, "slipway-test-a-1-7");
        assert_eq!(run.container.argv[5..], words("4 pip install -q pytest pytest -q"));
        assert_eq!((http.container.port, http.container.argv.len(), http.deps), (Some(80), 0, None));
        assert_eq!(run.junit(), "/repo/tests/logs/a.xml");
        assert_eq!((run.what.as_str(), http.what.as_str()), ("pytest -q", "GET :80/h"));
    }

    #[test]
    fn every_platform_that_runs_here_is_tested() {
        let mut plan = tested(vec![TestKind::Healthy]);
        plan.builds[0].platforms = ["linux/amd64", "linux/arm64", "linux/s390x"].map(str::to_owned).to_vec();
        fn cases<'a>(plan: &'a Plan, passed: &dyn Fn(&str) -> bool) -> Result<Vec<Vec<Case<'a>>>> {
            super::cases(plan, "/repo".into(), None, 7, &HERE, &|build, on| build.id != "a" || passed(on))
        }
        let all = cases(&plan, &|_| false).unwrap();
        let seen: Vec<_> = all[0].iter().map(|case| (case.what.as_str(), case.log.as_str())).collect();
        let own = ("HEALTHCHECK (linux/amd64)", "/repo/tests/logs/a.log");
        assert_eq!(seen, [own, ("HEALTHCHECK (linux/arm64)", "/repo/tests/logs/a.linux-arm64.log")]);
        assert_eq!(all[0][1].container.platform.as_deref(), Some("linux/arm64"));
        let rest = cases(&plan, &|on| on == "linux/amd64").unwrap();
        assert_eq!((rest[0].len(), rest[0][0].log.as_str()), (1, "/repo/tests/logs/a.linux-arm64.log"), "passed elsewhere");
        plan.builds[0].platforms = vec!["linux/s390x".into()];
        let error = cases(&plan, &|_| false).unwrap_err();
        assert_eq!(error.to_string(), "cannot test a: linux/s390x does not run on this machine");
        plan.builds[0].platforms.push("linux/arm64".into());
        assert!(cases(&plan, &|_| true).unwrap().is_empty());
    }

    #[test]
    fn what_was_not_loaded_is_not_tested() {
        let mut plan = tested(vec![TestKind::Healthy]);
        plan.builds[0].platforms = ["linux/s390x", "linux/amd64", "linux/arm64"].map(str::to_owned).to_vec();
        let tested = |loaded: &str| -> Result<Vec<String>> {
            let loaded = Platforms::from([("a".to_owned(), vec![loaded.to_owned()])]);
            let all = cases(&plan, "/repo".into(), None, 7, &Machine { loaded: &loaded, ..HERE }, &|_, _| false)?;
            Ok(all.iter().flatten().map(|case| format!("{} {}", case.what, case.log)).collect())
        };
        assert_eq!(tested("linux/arm64").unwrap(), ["HEALTHCHECK (linux/arm64) /repo/tests/logs/a.log"]);
        let error = tested("linux/s390x").unwrap_err();
        assert_eq!(error.to_string(), "cannot test a: linux/s390x does not run on this machine");
    }

    /// Runs the constant script with the shell of this machine.
    fn script(deps: &[&str], run: &[&str]) -> (Option<i32>, String) {
        let count = deps.len().to_string();
        let words = ["-c", WITH_DEPS, "sh", "MARK", &count].into_iter().chain(deps.iter().copied()).chain(run.iter().copied());
        let exit = Runner::default().output(&Cmd::probe("sh", "test the script").args(words)).unwrap();
        (exit.code, exit.stdout)
    }

    #[test]
    fn nothing_in_a_command_is_read_as_shell() {
        let odd = ["printf", "%s\n", "a b", "$HOME", "`id`", "\"; exit 9; \"", "", "x", "y", "z", "11th"];
        let (code, out) = script(&odd, &["printf", "%s|", "it's", "$(id)"]);
        assert_eq!(code, Some(0));
        assert_eq!(out, "a b\n$HOME\n`id`\n\"; exit 9; \"\n\nx\ny\nz\n11th\nMARK\nit's|$(id)|");
    }

    #[test]
    fn failing_dependencies_end_the_test() {
        assert_eq!(script(&["sh", "-c", "exit 5"], &["echo", "tested"]), (Some(5), String::new()));
        assert_eq!(script(&["true"], &["sh", "-c", "exit 6"]), (Some(6), "MARK\n".into()));
    }
}
