//! Two releases at once from two checkouts, with the order of their writes decided by the proxies in front of them.

use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::clone::Ran;
use crate::proxy::{Action, Proxy};
use crate::tiny::{IDS, Tiny};

const VERSIONS: [&str; 2] = ["v0.1.0", "v0.2.0"];

impl Tiny {
    /// Another checkout, as it is now, behind a proxy of its own.
    pub fn copy(&self) -> Tiny {
        let folder = tempfile::tempdir().unwrap();
        let copied = Command::new("cp").args(["-a", "."]).arg(folder.path()).current_dir(self.path()).status().unwrap();
        assert!(copied.success());
        let (namespace, upstream) = (self.namespace.clone(), self.upstream.clone());
        let exports = self.exports.clone();
        Tiny { ids: self.ids.clone(), folder, namespace, proxy: Proxy::new(&upstream), upstream, exports, env: Vec::new() }
    }
}

/// Whose write comes next, from the end; whoever has ended is passed over. Then anybody's.
#[derive(Default)]
struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    order: Vec<usize>,
    ended: [bool; 2],
    /// A write is on its way, alone.
    writing: bool,
    /// Who wrote.
    log: Vec<usize>,
}

impl Turns {
    fn new(order: &[usize]) -> Arc<Turns> {
        let state = State { order: order.iter().rev().copied().collect(), ..State::default() };
        Arc::new(Turns { state: Mutex::new(state), ..Turns::default() })
    }

    /// Waits until `who` may write, and nobody else does.
    fn take(&self, who: usize) {
        let mut state = self.state.lock().unwrap();
        loop {
            let ended = state.ended;
            while state.order.last().is_some_and(|next| ended[*next]) {
                state.order.pop();
            }
            if !state.writing && state.order.last().is_none_or(|next| *next == who) {
                state.order.pop();
                state.writing = true;
                state.log.push(who);
                return;
            }
            state = self.changed.wait(state).unwrap();
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }
}

/// Both versions are released at once, their writes in this order. What each printed, and who wrote.
fn race(checkouts: &[Tiny; 2], order: &[usize]) -> ([Ran; 2], Vec<usize>) {
    let turns = Turns::new(order);
    let ran = thread::scope(|scope| {
        let start = |who: usize| {
            let (tiny, turns) = (&checkouts[who], Arc::clone(&turns));
            let at = Arc::clone(&turns);
            tiny.proxy.rule(move |request| {
                if !request.is_put() {
                    return Action::Pass;
                }
                at.take(who);
                let at = Arc::clone(&at);
                Action::PassThen(Box::new(move || at.change(|state| state.writing = false)))
            });
            scope.spawn(move || {
                let ran = tiny.release(VERSIONS[who]);
                turns.change(|state| state.ended[who] = true);
                ran
            })
        };
        [0, 1].map(start).map(|thread| thread.join().unwrap())
    });
    let log = std::mem::take(&mut turns.state.lock().unwrap().log);
    (ran, log)
}

#[test]
fn two_releases_at_once_end_at_the_newer_in_every_order_of_their_writes() {
    let old = Tiny::new();
    old.tested("v0.0.1");
    old.push("v0.0.1").expect(0);
    old.release("v0.0.1").expect(0);
    std::fs::remove_dir_all(old.path().join("target/slipway")).unwrap();
    old.tested(VERSIONS[0]);
    old.push(VERSIONS[0]).expect(0);
    let new = old.copy();
    new.tested(VERSIONS[1]);
    new.push(VERSIONS[1]).expect(0);
    let checkouts = [old, new];
    for tiny in &checkouts {
        // Journals of pushes are not what is undone below.
        std::fs::remove_dir_all(tiny.path().join("target/slipway")).unwrap();
    }
    let before = checkouts[0].state();
    let repeat = |who: usize, n: usize| std::iter::repeat_n(who, n);
    // A release writes three moving tags and then three marks. One begins; before its next write the other does everything …
    let held = (0..=6).flat_map(|n| [0, 1].map(|who| repeat(who, n).chain(repeat(1 - who, 40)).collect::<Vec<_>>()));
    // … or they take turns.
    let turns = [vec![0, 1], vec![1, 0], vec![0, 0, 1], vec![1, 1, 0], vec![0, 0, 0, 1, 1, 1], vec![1, 1, 1, 0, 0, 0]];
    let turns = turns.into_iter().map(|turn| turn.into_iter().cycle().take(40).collect::<Vec<_>>());
    for order in held.chain(turns) {
        let (ran, log) = race(&checkouts, &order);
        let [old, new] = ran.map(|ran| ran.expect(0));
        let state = checkouts[0].state();
        let said = format!("{log:?}\n{}{}\n{}{}", old.stdout, old.stderr, new.stdout, new.stderr);
        for id in IDS {
            assert_eq!(state[&format!("{id}:latest")], state[&format!("{id}:{}", VERSIONS[1])], "{id}: {said}");
            for version in VERSIONS {
                let mark = |tag: &&String| tag.starts_with(&format!("{id}:released-")) && tag.ends_with(version);
                let mark = state.keys().find(mark).unwrap_or_else(|| panic!("{id} has no mark of {version}: {said}"));
                assert_eq!(state[mark], state[&format!("{id}:{version}")], "{id}: {said}");
            }
            // The older one says what became of its part, unless it was through before the newer one began.
            let line = |ran: &Ran| ran.stdout.lines().find(|line| line.contains(&format!("{id}:latest"))).map(str::to_owned);
            let (older, newer) = (line(&old).unwrap(), line(&new).unwrap());
            assert!(newer.contains("moved") || newer.contains("unchanged"), "{newer}\n{said}");
            let known = ["moved", "yielded", "skipped"].iter().any(|word| older.contains(word));
            assert!(known && (older.contains("moved") || older.contains(VERSIONS[1])), "{older}\n{said}");
        }
        // Undone, whoever wrote last.
        checkouts.each_ref().iter().rev().for_each(|tiny| {
            tiny.proxy.pass();
            drop(tiny.undo());
        });
        assert_eq!(checkouts[0].state(), before, "undone: {said}");
    }
}
