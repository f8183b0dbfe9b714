//! Random repositories: nothing that stays is broken, and a second clean-up finds nothing.

use proptest::prelude::*;

use super::*;

/// (digest, children, tags), each of them small numbers.
fn repository() -> impl Strategy<Value = Vec<(BTreeSet<u32>, Vec<usize>, bool)>> {
    prop::collection::vec(
        (prop::collection::btree_set(1..12_u32, 0..3), prop::collection::vec(0..14_usize, 0..4), any::<bool>()),
        1..12,
    )
}

const TAGS: [&str; 14] = [
    "v1.0.0",
    "v1.1.0",
    "v1.2.0",
    "v0.1.0",
    "latest",
    "1.1",
    "main",
    "main-0000001",
    "main-0000002",
    "candidate-0123456789ab-1",
    "candidate-0123456789ab-2",
    "candidate-0123456789ab-3",
    "tested-0123456789ab-0123456789ab",
    "released-0123456789ab-v1.0.0",
];

fn made(parts: &[(BTreeSet<u32>, Vec<usize>, bool)], lists_all: bool) -> World {
    let memory = Memory { lists_all, ..Memory::default() };
    for (n, (children, tags, is_young)) in parts.iter().enumerate() {
        let n = u32::try_from(n).unwrap() + 100;
        let tags: Vec<&str> = tags.iter().map(|tag| TAGS[*tag]).collect();
        add(&memory, n, if *is_young { NOW } else { OLD }, &tags);
        children.iter().for_each(|child| drop(memory.images.lock().unwrap().insert(d(*child), vec![image(OLD, "")])));
        memory.links.lock().unwrap().insert(d(n), (children.iter().map(|child| d(*child)).collect(), None));
    }
    World::of(memory)
}

/// Everything that the tags lead to is there, but for an index that is being removed.
pub fn is_whole(world: &World) -> bool {
    let (images, links) = (world.memory.images.lock().unwrap(), world.memory.links.lock().unwrap());
    let has = |digest: &Digest| images.contains_key(digest);
    let tags = world.memory.tags.lock().unwrap();
    let mut real = tags.iter().filter(|(tag, _)| !tag.contains("slipway-removed-")).map(|(_, digest)| digest);
    real.all(|digest| has(digest) && links.get(digest).is_none_or(|(children, _)| children.iter().all(has)))
}

/// What no tag leads to.
pub fn lost(world: &World) -> BTreeSet<Digest> {
    let (images, links) = (world.memory.images.lock().unwrap(), world.memory.links.lock().unwrap());
    let tags = world.memory.tags.lock().unwrap();
    let children = tags.values().filter_map(|digest| links.get(digest)).flat_map(|(children, _)| children);
    let found: BTreeSet<&Digest> = tags.values().chain(children).collect();
    images.keys().filter(|digest| !found.contains(digest)).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn what_stays_is_whole_and_a_second_look_finds_nothing(parts in repository(), killed in prop::collection::vec(0..8_usize, 1..4), lists_all in any::<bool>()) {
        let world = made(&parts, lists_all);
        let stays: BTreeSet<String> =
            world.decide().1.into_iter().filter(|verdict| verdict.stays).map(|verdict| verdict.reference).filter(|name| !name.contains('@')).collect();
        let never_tagged = lost(&world);
        // Killed before any of its writes, more than once: nothing is named then that is not there, and nothing is lost.
        for writes in killed {
            let died = world.killed(writes);
            prop_assert!(is_whole(&world), "killed: {died}");
            prop_assert!(lists_all || lost(&world) == never_tagged, "killed: {died}");
        }
        world.apply(&world.memory.view()).unwrap();
        prop_assert!(is_whole(&world));
        prop_assert!(lists_all || lost(&world) == never_tagged);
        let left: BTreeSet<String> = world.memory.tags.lock().unwrap().keys().cloned().collect();
        prop_assert_eq!(&left, &stays);
        let (_, _, again) = world.decide();
        prop_assert!(again.iter().all(|removal| removal.untag.is_empty() && removal.delete.is_empty()), "{again:?}");
    }
}
