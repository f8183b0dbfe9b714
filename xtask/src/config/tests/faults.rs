//! What is said of wrong files: text of images.toml → exact faults.

use super::*;

fn table(rows: &[(&str, &str)]) {
    let wrong = rows.iter().filter(|(text, expected)| said(text) != *expected);
    let wrong: Vec<_> =
        wrong.map(|(text, expected)| format!("{text}\n--- said\n{}\n--- expected\n{expected}\n", said(text))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn all_faults_at_once_with_a_count() {
    let text = "registy = 'ghcr.io'\n[image.a]\nplatforms = 'linux/amd64'\nparent = 'b'\n[on.branch.main]\n";
    let expected = "cannot load f: 4 faults\n\
                    f:1: unknown key `registy` (did you mean `registry`?)\n\
                    f:3: `image.a.platforms` is text, not a list (write platforms = [\"linux/amd64\"])\n\
                    f:4: parent `b` of image `a` is no image (there is none)\n\
                    f:5: on.branch.main has no tags (write tags = [\"…\"]; tags = [] builds and tests only)";
    assert_eq!(config(text).unwrap_err(), expected);
}

#[test]
fn one_mistake_is_one_fault() {
    table(&[
        // A list that is wrong counts as written, an axis that is wrong as known.
        ("[image.a]\n[on.manual]\ntags = 'x'", "f:3: `on.manual.tags` is text, not a list (write tags = [\"x\"])"),
        ("[axes]\np = '3.9'\n[image.a]\nvariant = '{p}'\nexclude = ['p=1']", "f:2: `axes.p` is text, not a list or a table"),
        ("[axes]\np = { file = 1 }\n[image.a]\nvariant = '{p}'", "f:2: `axes.p.file` is a number, not text (write \"1\")"),
        ("[image.a]\nvariant = 1", "f:2: `image.a.variant` is a number, not text (write \"1\")"),
        ("[image]\na = 1", "f:2: `image.a` is a number, not a table"),
        ("image = 1", "f:1: `image` is a number, not a table"),
        ("[image.a]\n[check.c]\nrun = 1", "f:3: `check.c.run` is a number, not text or a list"),
        ("[image.a]\n[on.schedule]\ncron = 1\ntags = []", "f:3: `on.schedule.cron` is a number, not text or a list"),
    ]);
}

#[test]
fn the_file_as_a_whole() {
    table(&[
        ("[images.a]", "f:1: unknown key `images` (did you mean `image`?)"),
        ("[image.a]\ntags = ['x']", "f:2: unknown key `image.a.tags` (`tags` is a key of [on.EVENT])"),
        ("[image.a]\n[release]\nkeep = 3", "f:3: unknown key `release.keep` (`keep` is a key of [retention])"),
        ("[image.a]\n[on.push]", "f:2: unknown key `on.push` (known: pull-request, branch, tag, schedule, manual, local)"),
        ("schema = 1.0\n[image.a]", ""),
        ("\u{feff}[image.a]\r\nplatfrom = []\r\n", "f:2: unknown key `image.a.platfrom` (did you mean `platforms`?)"),
        ("", "f:1: there is no image (write [image.NAME])"),
        ("schema = 2\n[image.a]", "f:1: `schema` is 2 (only 1 is known)"),
        ("[image.a]\n[image.a]", "f:2: not TOML: duplicate key"),
        ("[image.a]\ntarget = x", "f:2: not TOML: string values must be quoted, expected literal string"),
        ("[image.a]\nwhen.python<3.9.platforms = []", "f:2: `python<3.9` is not quoted (write when.\"python<3.9\".platforms)"),
        ("[image.a]\non.branch.v1.2.tags = []", "f:2: `v1.2` is not quoted (write on.branch.\"v1.2\")"),
        ("[image.a]\n[on.branch.release/*]\ntags = []", "f:2: `release/*` is not quoted (write on.branch.\"release/*\")"),
        ("[image.A]", "f:1: image `A` can't be a repository's name (lower case letters and digits, . _ - between them)"),
    ]);
}

#[test]
fn variants_and_conditions() {
    let axes =
        |rest: &str| format!("[axes]\np = ['3.9', '3.10']\nr = ['cpu', 'cuda']\n[image.a]\nvariant = '{{r}}-{{p}}'\n{rest}");
    for (rest, expected) in [
        ("exclude = ['p<3.9']", "f:6: exclude `p<3.9` matches no build of image `a` (remove it)"),
        ("exclude = ['p=3.8']", "f:6: `p=3.8`: axis `p` has no value `3.8` (did you mean `3.9`?; p: 3.9, 3.10)"),
        ("exclude = ['q=1']", "f:6: `q=1`: no axis `q` (known: p, r, image, id)"),
        ("include = ['r=rocm']", "f:6: include `r=rocm` does not name one value of every axis (write r=…,p=…)"),
        ("include = ['r=rocm,p<3.9']", "f:6: include `r=rocm,p<3.9` does not name one value of every axis (write r=…,p=…)"),
        ("include = ['r=cpu,p=3.9']", "f:6: include `r=cpu,p=3.9` is in the matrix already (remove it)"),
        ("include = ['r=a/b,p=3.9']", "f:6: include `r=a/b,p=3.9`: `a/b` can't be in a tag (letters, digits, `_`, `.` and `-`)"),
        ("when.p.target = 'x'", "f:6: `p` is not a condition (write axis=value, such as p=first)"),
        ("when.'p<3.9'.variant = 'x'", "f:6: `variant` can't depend on a condition (write it in the image itself)"),
        ("when.'p<3.9'.on.tag = false", "f:6: `on` can't depend on a condition (write it in the image itself)"),
        (
            "when.'p=3.9'.target = 'x'\nwhen.'r=cpu'.target = 'y'",
            "f:7: when.\"r=cpu\" and when.\"p=3.9\" (line 6) set `target` differently, and some builds meet both \
             (make the conditions exclude each other)",
        ),
        ("when.'p=3.9'.target = 'x'\nwhen.'p>3.9'.target = 'y'", ""),
        ("when.'p=3.9'.target = 'x'\nwhen.'r=cpu'.target = 'x'", ""),
        (
            "[image.b]\nwhen.'p=3.9'.target = 'x'",
            "f:7: `p=3.9` never holds: `p` is not an axis of image `b` (name it in its variant)",
        ),
        ("[on.tag]\nonly = ['pp=first']", "f:7: `pp=first`: no axis `pp` (known: p, r, image, id)"),
    ] {
        assert_eq!(said(&axes(rest)), expected, "{rest}");
    }
    table(&[
        (
            "[axes]\npython = ['1']\n[image.a]\nvariant = '{pyhton}'",
            "f:4: unknown placeholder `{pyhton}` (there is none; {{pyhton}} is the text itself)",
        ),
        ("[image.a]\ninclude = ['p=1']", "f:2: `p=1`: no axis `p` (known: image, id)"),
    ]);
}

#[test]
fn placeholders() {
    table(&[
        ("[image.a]\ntarget = '{sha}'", "f:2: `{sha}` can't be known here (tags, args and labels take it)"),
        (
            "[image.a]\ntarget = '{imgae}'",
            "f:2: unknown placeholder `{imgae}` (did you mean `image`?; {{imgae}} is the text itself)",
        ),
        ("[image.a]\nargs.V = '{version}'", "f:2: `{version}` is not known in on.pull-request (set version-file)"),
        ("[image.a]\nargs.V = '{version}'\non = { pull-request = false, local = false, tag = true }", ""),
        (
            "[image.a]\n[on.schedule]\ncron = '0 3 * * 0'\ntags = ['{version}']",
            "f:4: `{version}` is not known in on.schedule (set version-file)",
        ),
        ("[image.a]\n[on.branch.main]\ntags = ['pr-{number}']", "f:3: `{number}` is known in pull requests only"),
        ("[image.a]\n[on.tag]\ntags = ['{branch}']", "f:3: `{branch}` is not known in on.tag"),
        (
            "[image.a]\nargs.V = '${HOME}'",
            "f:2: `${HOME}`: only registry, namespace, login and secrets take environment variables (${{HOME}} is the text itself)",
        ),
        (
            "[axes]\np = ['1']\n[image.a]\n[image.b]\nvariant = '{p}'\n[cache]\nregistry = 'c:{p}'",
            "f:7: `{p}` is not an axis of image `a` (name it in its variant)",
        ),
        (
            "[image.a]\n[check.c]\nrun = 'echo {version}'",
            "f:3: check `c`: `{version}` is not filled in here ({{version}} is the text itself)",
        ),
        (
            "version-file = '{x}'\n[image.a]",
            "f:1: version-file: `{x}` has a stray brace or control character (a placeholder is {name})",
        ),
        (
            "[axes]\np = ['1']\n[image.a]\nvariant = '{p'",
            "f:3: `a-{p` can't be the repository of `a-{p` (letters and digits, . _ - / between them)",
        ),
    ]);
}

#[test]
fn events() {
    table(&[
        ("[image.a]\n[on.tag]\nonly = ['image=b']", "f:3: `image=b`: no image `b` (known: a)"),
        (
            "[image.a]\n[on.branch.main]\ntags = []\n[on.branch.x]\nmatch = ['main']\ntags = []",
            "f:5: on.branch.x and on.branch.main both match branch `main` (merge them)",
        ),
        (
            "[image.a]\n[on.schedule]\ncron = 'daily'\ntags = []",
            "f:3: `daily` is not a cron line (five fields: minute hour day month weekday)",
        ),
        ("[image.a]\n[on.tag]\ncron = 'x'", "f:3: on.tag does not take `cron` (only on.schedule takes it)"),
        (
            "[image.a]\n[on.branch.main]\ntags = []\nbranches = []",
            "f:4: on.branch.main does not take `branches` (only on.pull-request takes it)",
        ),
        (
            "[image.a]\n[on.pull-request]\nreplace = true",
            "f:3: on.pull-request does not take `replace` (known: branches, paths, paths-ignore, only, platforms, fresh, cache, tags, cache-from-tags)",
        ),
        (
            "[image.a]\non.manual = { tags = [], paths = ['x'] }",
            "f:2: on.manual does not take `paths` (only on.pull-request, on.branch takes it)",
        ),
        ("[image.a]\n[on.schedule]\ntags = []", "f:2: on.schedule has no cron (write cron = \"0 3 * * 0\")"),
        ("[image.a]\n[on.manual]", "f:2: on.manual has no tags (write tags = [\"…\"]; tags = [] builds and tests only)"),
        ("[image.a]\non.manual.tags = []\n[on.manual]", ""),
        (
            "[image.a]\n[on.pull-request]\npaths = ['./src']",
            "f:3: `./src` in on.pull-request.paths never matches (patterns are relative to the repository, without ./)",
        ),
        (
            "[image.a]\n[on.tag]\ntags = ['a b']",
            "f:3: `a b` can't be a tag of `a` (at most 128 letters, digits, `_`, `.` and `-`)",
        ),
        (
            "[image.a]\n[on.tag]\ntags = ['tested-0123456789ab-0123456789ab']",
            "f:3: `tested-0123456789ab-0123456789ab` can't be a tag of `a` (runs call their own tags so: choose another beginning)",
        ),
        (
            "[image.a]\n[on.branch.main]\ntags = ['candidate-0123456789ab-{sha7}']",
            "f:3: `candidate-0123456789ab-{sha7}` can't be a tag of `a` (runs call their own tags so: choose another beginning)",
        ),
        ("[image.a]\n[on.tag]\nplatforms = ['amd64']", "f:3: platform `amd64` is not known (did you mean `linux/amd64`?)"),
        (
            "[image.a]\nlocal-only = true\non.tag.tags = []",
            "f:3: on.tag of image `a` never happens: it is local-only (remove one of them)",
        ),
        (
            "[image.a]\nlocal-only = true\npublish = true",
            "f:2: image `a` is both local-only and publish = true (remove one of them)",
        ),
    ]);
}

#[test]
fn names_that_two_builds_share() {
    table(&[
        (
            "[image.a]\nrepository = 'ghcr.io/acme/a'",
            "f:2: repository `ghcr.io/acme/a` of `a` begins with a registry (leave it out: `registry` is put in front)",
        ),
        (
            "[image.a]\nrepository = 'x'\n[image.b]\nrepository = 'x'\n[on.tag]\ntags = ['latest']\n[on.pull-request]\ntags = []\n[on.local]\ntags = []",
            "f:6: `a` and `b` share the tag x:latest in on.tag (put {id} into the tag or the repository)",
        ),
        (
            "[axes]\np = ['1', '2']\n[image.a]\nvariant = '{p}'\nrepository = 'x'\n[on.tag]\ntags = ['latest']",
            "f:7: `a-1` and `a-2` share the tag x:latest in on.tag (put {variant} into the tag or the repository)",
        ),
        (
            "[axes]\np = ['1']\n[image.a]\nvariant = '{p}'\n[image.a-1]\nrepository = 'y'",
            "f:5: two builds are called `a-1`: of image `a` and of image `a-1` (rename one)",
        ),
        (
            "[axes]\np = ['1', '11']\nq = ['1', '11']\n[image.a]\nvariant = '{p}{q}'\nrepository = 'r{p}-{q}'",
            "f:4: two builds are called `a-111`: of image `a` and of image `a` (p=1,q=11 and p=11,q=1: put something between the axes in variant)",
        ),
        (
            "[axes]\np = ['1', '2']\n[image.a]\nvariant = '{p}'\n[cache]\nregistry = 'c:x'",
            "f:6: `a-1` and `a-2` share the cache ref c:x (put {variant} or {id} into it)",
        ),
        (
            "[image.a]\n[cache]\nregistry = '{repository}:latest'",
            "f:3: the cache ref a:latest is also a tag of `a`, and each would overwrite the other (choose another)",
        ),
        ("[image.a]\n[cache]\nregistry = '{repository}'", "f:3: `a` can't be the cache ref of `a` (write \"repository:tag\")"),
        (
            "[axes]\np = ['1', '2']\n[image.a]\nvariant = '{p}'\ntemplate = 't'\ndockerfile = 'd'",
            "f:6: `a-1` and `a-2` both generate d (put {variant} or {id} into dockerfile)",
        ),
        ("[axes]\np = ['A']\n[image.a]\nvariant = '{p}'", "f:3: `a-A` can't be the repository of `a-A` (lower case only)"),
        ("[image.a]\n[release]\ncandidates = 'x:y'", "f:3: `x:y` can't be the repository of candidates (lower case, no tag)"),
    ]);
}

#[test]
fn parents() {
    table(&[
        ("[image.app]\nparent = 'bsae'\n[image.base]", "f:2: parent `bsae` of image `app` is no image (did you mean `base`?)"),
        ("[image.a]\nparent = 'a'", "f:2: image `a` is its own parent"),
        (
            "[image.a]\nparent = 'b'\n[image.b]\nparent = ['c']\n[image.c]\nparent = 'a'",
            "f:2: images are parents of each other: a -> b -> c -> a",
        ),
        ("[image.a]\nparent = 'b:x y'\n[image.b]", "f:2: parent `b:x y` has no valid tag"),
        (
            "[image.a]\nparent = 'b'\n[image.b]\nlocal-only = true",
            "f:2: `a` is published but its parent `b` is local-only (make both local-only, or neither)",
        ),
        (
            "[axes]\np = ['1', '2']\n[image.a]\nparent = 'b'\n[image.b]\nvariant = '{p}'",
            "f:4: parent `b` has axis `p`, image `a` has not: which build is meant? (put {p} into its variant)",
        ),
        (
            "[axes]\np = ['1', '2']\n[image.a]\nvariant = '{p}'\nparent = 'b'\n[image.b]\nvariant = '{p}'\nexclude = ['p=1']",
            "f:5: parent `b` of `a-1` is not built for p=1 (exclude it there too)",
        ),
        ("[axes]\np = ['1', '2']\n[image.a]\nvariant = '{p}'\nparent = 'b'\n[image.b]\nvariant = '{p}'", ""),
    ]);
}

#[test]
fn keys_of_an_image() {
    table(&[
        (
            "[image.a]\ndependencies = ['../x']",
            "f:2: `../x` in dependencies never matches (patterns are relative to the repository, without ./)",
        ),
        (
            "[image.a]\ntimeout = 'soon'",
            "f:2: timeout of image `a`: `soon` is not a time (write such as \"90s\", \"10m\" or \"1h 30m\")",
        ),
        ("[image.a]\nplatforms = ['linux/arm46']", "f:2: platform `linux/arm46` is not known (did you mean `linux/arm64`?)"),
        ("[image.a]\nargs.'A B' = 'x'", "f:2: `A B` can't be a build argument (letters, digits and `_`)"),
        ("[image.a]\ncontext = '../x'", "f:2: context of `a`: `../x` is outside the repository (write a path relative to it)"),
        (
            "[image.a]\nsecrets.n.file = '/etc/passwd'",
            "f:2: secrets of `a`: `/etc/passwd` is outside the repository (write a path relative to it)",
        ),
        (
            "[image.a]\ntest = [{ run = 'x' },\n{}]",
            "f:3: test of `a`: the test does nothing (write one of run, http, healthy = true)",
        ),
        ("[image.a.test]\nhttp = '80'", "f:2: test of `a`: `80` is not a port and path (write \":8000/health\")"),
        ("[image.a]\ntest = [{ run = 'x' }, { run = 'y' }]\n[image.b]\ntest = { run = 'x' }", ""),
        (
            "[image.a]\ntest = { http = ':80/', deps = { ci = 'true' } }",
            "f:2: test of `a`: deps are installed for `run`; with http or healthy the image starts as it is (remove deps)",
        ),
        (
            "[image.a]\ntest = [{ run = 'x', log = 'l.log' },\n{ run = 'y', log = 'l.log' }]",
            "f:2: two tests of `a` write l.log (give each a log of its own, or leave it out)",
        ),
        (
            "[axes]\np = ['1', '2']\n[image.a]\nvariant = '{p}'\ntest = { run = 'x', log = 'l.log' }",
            "f:5: tests of `a-1` and `a-2` write l.log (put {variant} or {id} into log)",
        ),
        (
            "[image.a]\ntest = { run = 'x', log = 'l.log' }\n[image.b]\ntest = { run = 'x', log = 'l.txt' }",
            "f:4: tests of `a` and `b` write l.xml (let log end in .log)",
        ),
        ("[image.a]\ntarget = ''", "f:2: target is empty (remove it for the last stage)"),
    ]);
}

#[test]
fn checks_and_the_other_tables() {
    table(&[
        (
            "[image.a]\n[check.lint-py]\nrun = 'x'\n[check.Lint_py]\nrun = 'y'",
            "f:2: checks `Lint_py` and `lint-py` have one log: they differ in signs or capitals only (rename one)",
        ),
        ("[image.a]\n[check.c]", "f:2: check `c` runs nothing (write run = \"…\")"),
        (
            "[image.app]\n[check.c]\nin = 'ap'\nrun = 'x'",
            "f:3: check `c`: `ap` is neither an image nor a build (did you mean `app`?)",
        ),
        (
            "[image.a]\n[check.c]\nin = 'a'\ncompose = 'x'",
            "f:3: check `c` has both `in` and `compose` (an image, or a composed system)",
        ),
        (
            "[axes]\np = ['1', '2']\n[image.a]\nvariant = '{p}'\n[check.c]\nin = 'a'\nrun = 'x'",
            "f:6: check `c`: image `a` has 2 builds (name one, such as `a-1`)",
        ),
        ("[axes]\np = ['1', '2']\n[image.a]\nvariant = '{p}'\n[check.c]\nin = 'a-2'\nrun = 'x'", ""),
        (
            "[image.a]\n[check.c]\nrun = 'x'\nservices = ['y']",
            "f:4: check `c` has services without compose (write compose = \"docker-compose.yml\")",
        ),
        ("[image.a]\n[check.c]\nrun = \"it's\"", "f:3: check `c`: `it's` has a quote that is not closed"),
        (
            "[image.a]\n[check.c]\nrun = \"x && y\"",
            "f:3: check `c`: `x && y` needs a shell, and none runs it (write sh -c 'x && y')",
        ),
        (
            "[image.a]\n[check.c]\nrun = 'x'\ntimeout = '5'",
            "f:4: check `c`: `5` is not a time (write such as \"90s\", \"10m\" or \"1h 30m\")",
        ),
        ("[image.a]\n[retention]\ngrace = 'x'", "f:3: `x` is not a time (write such as \"24h\" or \"7days\")"),
        ("[image.a]\n[scan]\nignore = '/x'", "f:3: `/x` is outside the repository (write a path relative to it)"),
        (
            "[image.a]\n[scan]\nfail-on = 'critcal'",
            "f:3: `scan.fail-on` is \"critcal\" (did you mean `critical`?; one of: never, low, medium, high, critical)",
        ),
        (
            "[image.a]\n[login]\npassword = 'hunter2'",
            "f:3: `login.password` has the wrong form (write \"${NAME}\", an environment variable)",
        ),
    ]);
}
