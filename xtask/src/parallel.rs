//! A list of things done several at once.

use std::sync::Mutex;
use std::thread;

/// `work` on every item, at most `jobs` at once; the results in the order of the items.
pub fn map<T: Send, R: Send>(jobs: usize, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let workers = jobs.clamp(1, items.len().max(1));
    let queue = Mutex::new(items.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    // A poisoned lock means that a worker panicked; the scope then panics too.
    let next = || queue.lock().ok()?.next();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((at, item)) = next() {
                    let result = work(item);
                    if let Ok(mut done) = done.lock() {
                        done.push((at, result));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn at_most_so_many_at_once_and_in_order() {
        let (now, most, all) = (AtomicUsize::new(0), AtomicUsize::new(0), std::sync::Barrier::new(3));
        let work = |item: u64| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Three of them are here at once, or nobody goes on.
            all.wait();
            now.fetch_sub(1, Ordering::SeqCst);
            item * 2
        };
        assert_eq!(map(3, (0..9).collect(), work), (0..9).map(|item| item * 2).collect::<Vec<_>>());
        assert_eq!(most.into_inner(), 3);
        assert!(map(3, Vec::<u8>::new(), |item| item).is_empty());
    }
}
