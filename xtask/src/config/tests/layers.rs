//! Layers, axes and events in whole files.

use super::*;

#[test]
fn the_order_of_tables_in_the_file_does_not_matter() {
    let tables = [
        "[axes]\nb = ['1', '2']\na = ['x', 'y']\n",
        "[image.z]\nvariant = '{a}-{b}'\nparent = 'y'\nwhen.'a=x'.args.K = '1'\nwhen.'b=2'.args.L = '2'\n",
        "[image.y]\n",
        "[on.tag]\n",
        "[on.branch.main]\ntags = ['latest']\n",
        "[cache]\n",
    ];
    let shown = |text: &str| format!("{:?}", config(text).unwrap());
    let forward = shown(&tables.concat());
    let mut backward = tables;
    backward.reverse();
    assert_eq!(shown(&backward.concat()), forward);
    backward.rotate_left(2);
    assert_eq!(shown(&backward.concat()), forward);
}

#[test]
fn when_is_laid_over_the_image_over_the_defaults() {
    let text = "[axes]\np = ['3.8', '3.10']\n[defaults]\nplatforms = ['linux/arm64']\nargs = { A = '1', B = '1' }\n\
                test = { run = 'x', log = 'l-{id}' }\nwhen.'p<3.9'.args.A = '3'\n\
                [image.i]\nvariant = 'py{p}'\nargs = { A = '2' }\ntest = { http = ':80/' }\nwhen.'p<3.9'.platforms = ['linux/386']\n\
                [image.j]\n";
    let config = config(text).unwrap();
    let args = |id: &str| build(&config, id).args.values().cloned().collect::<String>();
    assert_eq!((args("i-py3.8"), args("i-py3.10"), args("j")), ("31".into(), "21".into(), "11".into()));
    assert_eq!(build(&config, "i-py3.8").platforms, ["linux/386"]);
    assert_eq!(build(&config, "i-py3.10").platforms, ["linux/arm64"]);
    assert_eq!(build(&config, "i-py3.8").tests[0].log, "l-i-py3.8");
}

#[test]
fn placeholders_of_the_event_stay() {
    let text = "[axes]\np = ['1']\n[image.i]\nvariant = '{p}'\nargs = { A = '{p} {sha7} {{p}}' }\nlabels.l = '{date}{id}'\n\
                [on.tag]\ntags = ['{version}-{p}']\n";
    let config = config(text).unwrap();
    let build = build(&config, "i-1");
    assert_eq!((build.args["A"].as_str(), build.labels["l"].as_str()), ("1 {sha7} {{p}}", "{date}i-1"));
    assert_eq!(build.on[1].tags, ["{version}-1"]);
}

#[test]
fn builds_that_share_a_repository_have_default_names_of_their_own() {
    let text = "namespace = 'n'\n[axes]\np = ['1', '2']\n[image.i]\nvariant = '{p}'\nrepository = '{namespace}/{image}'\n\
                [cache]\n[on.tag]\ntags = ['{version}-{variant}']\n";
    let config = config(text).unwrap();
    let build = build(&config, "i-2");
    let tags: Vec<_> = build.on.iter().flat_map(|policy| &policy.tags).collect();
    assert_eq!(tags, ["pr-{number}-2", "{version}-2", "local-2"]);
    assert_eq!(build.cache_ref.as_deref(), Some("n/i:buildcache-2"));
}

#[test]
fn which_events_there_are() {
    for (text, expected) in [
        ("", "pull-request tag local"),
        ("[on.pull-request]\nfresh = true", "pull-request local"),
        ("[on.branch.dev]\ntags = []", "pull-request branch.dev local"),
        ("[on]\ntag = true\nlocal = false", "pull-request tag"),
        ("[image.i]\non.branch.x.tags = []", "pull-request branch.x local"),
        ("[image.j]\non.branch.x.tags = []", "pull-request local"),
        ("[image.i]\non.tag = false", "pull-request local"),
        ("[image.j]\non.tag = false", "pull-request tag local"),
        ("[on]\ntag = false\n[image.i]\non.tag.tags = ['x']", "pull-request tag local"),
        ("[image.i]\nlocal-only = true\n[on.tag]", "local"),
    ] {
        let image = if text.contains("[image.i]") { "" } else { "\n[image.i]" };
        let config = config(&format!("{text}{image}\n")).unwrap();
        let events: Vec<_> = build(&config, "i").on.iter().map(|policy| policy.event.to_string()[3..].to_owned()).collect();
        assert_eq!(events.join(" "), expected, "{text}");
    }
}

#[test]
fn ten_thousand_builds_load_without_quadratic_work() {
    let values: Vec<String> = (0..100).map(|value| format!("'{value}'")).collect();
    let values = values.join(",");
    let text = format!(
        "[axes]\na=[{values}]\nb=[{values}]\n[image.i]\nvariant='{{a}}-{{b}}'\ntest.run='x'\nwhen.'a<50'.args.C='1'\n[cache]\n"
    );
    assert_eq!(config(&text).unwrap().builds.len(), 10_000);
}
