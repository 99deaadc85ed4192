//! Who runs when: lines, mailboxes, timers, joins, and what happens to a future that is given up.

use super::{bench, note, taken};
use crate::{Mailbox, Timers, WaitQueue, join};
use block::Tick;
use std::rc::Rc;

/// Goal: tasks run in the order in which they became ready, and a line is served in the order in which it was joined.
#[test]
fn lines_are_first_come_first_served() {
    let (core, mut executor, log) = bench();
    let line = Rc::new(WaitQueue::new(&core, 4));
    for name in ["a", "b", "c"] {
        let (line, log) = (line.clone(), log.clone());
        executor.spawn(async move {
            note(&log, format!("{name}:waits"));
            line.wait().await;
            note(&log, format!("{name}:goes"));
        });
    }
    executor.run();
    line.wake_one();
    executor.run();
    assert_eq!(taken(&log), "a:waits b:waits c:waits a:goes");
    line.wake_all();
    executor.run();
    assert_eq!(taken(&log), "b:goes c:goes");
    assert!(line.is_empty());
}

/// Goal: requests go to whoever is free, none is lost, and a full mailbox gives the value back.
#[test]
fn mailboxes_hand_out_requests_in_order() {
    let (core, mut executor, log) = bench();
    let requests = Rc::new(Mailbox::new(&core, 3));
    let pause = Rc::new(WaitQueue::new(&core, 4));
    for worker in 0..2 {
        let (requests, pause, log) = (requests.clone(), pause.clone(), log.clone());
        executor.spawn(async move {
            loop {
                let request: u32 = requests.take().await;
                note(&log, format!("{request}@{worker}"));
                pause.wait().await;
            }
        });
    }
    executor.run();
    assert_eq!([1, 2, 3, 4].map(|n| requests.put(n)), [Ok(()), Ok(()), Ok(()), Err(4)]);
    executor.run();
    assert_eq!((taken(&log).as_str(), requests.len()), ("1@0 2@1", 1));
    pause.wake_all();
    executor.run();
    assert_eq!(taken(&log), "3@0");
    assert_eq!(requests.put(4), Ok(()));
    executor.run();
    assert_eq!(taken(&log), "4@1");
}

/// Goal: timers end at their time, the earlier one first, equal ones in the order in which they were set.
#[test]
fn timers_end_in_order() {
    let (core, mut executor, log) = bench();
    let timers = Rc::new(Timers::new(&core, 4));
    for (name, at) in [("late", 30), ("first", 10), ("second", 10), ("now", 0)] {
        let (timers, log) = (timers.clone(), log.clone());
        executor.spawn(async move {
            timers.sleep_until(Tick(at)).await;
            note(&log, format!("{name}@{}", timers.now().0));
        });
    }
    executor.run();
    assert_eq!((taken(&log).as_str(), timers.deadline()), ("now@0", Some(Tick(10))));
    timers.advance(Tick(9));
    executor.run();
    assert_eq!(taken(&log), "");
    timers.advance(Tick(12));
    timers.advance(Tick(11));
    executor.run();
    assert_eq!(taken(&log), "first@12 second@12");
    timers.advance(Tick(40));
    executor.run();
    assert_eq!((taken(&log).as_str(), timers.deadline()), ("late@40", None));
}

/// Goal: a join ends when both ended, whichever is first, and gives both results.
#[test]
fn joins_wait_for_both() {
    for late in [0, 1] {
        let (core, mut executor, log) = bench();
        let lines = [0, 1].map(|_| Rc::new(WaitQueue::new(&core, 1)));
        let (of_task, log_of_task) = (lines.clone(), log.clone());
        let task = executor.spawn(async move {
            let [a, b] = &of_task;
            let both = join(
                async {
                    a.wait().await;
                    'a'
                },
                async {
                    b.wait().await;
                    'b'
                },
            )
            .await;
            note(&log_of_task, format!("{both:?}"));
        });
        executor.run();
        lines[1 - late].wake_one();
        executor.run();
        assert!(!executor.has_ended(task));
        lines[late].wake_one();
        executor.run();
        assert!(executor.has_ended(task));
        assert_eq!(taken(&log), "('a', 'b')");
    }
}

/// Goal: however often a task is woken, it is polled once.
#[test]
fn a_task_is_ready_once() {
    let (core, mut executor, _) = bench();
    let line = Rc::new(WaitQueue::new(&core, 1));
    let of_task = line.clone();
    let task = executor.spawn(async move { of_task.wait().await });
    assert_eq!(executor.run(), 1);
    core.wake(task);
    core.wake(task);
    assert_eq!(executor.run(), 1, "it was not called yet");
    line.wake_one();
    core.wake(task);
    assert_eq!(executor.run(), 1);
    assert!(executor.has_ended(task));
    core.wake(task);
    assert_eq!(executor.run(), 0, "a task that has ended stays so");
}

/// Goal: a future that waits is not given up by the task that made it.
#[test]
#[should_panic(expected = "a place in a line was given up while it waited")]
fn giving_up_is_a_fault() {
    let (core, mut executor, _) = bench();
    let line = Rc::new(WaitQueue::new(&core, 1));
    executor.spawn(async move {
        let mut wait = Box::pin(line.wait());
        core::future::poll_fn(|context| {
            assert!(wait.as_mut().poll(context).is_pending());
            core::task::Poll::Ready(())
        })
        .await;
        drop(wait);
    });
    executor.run();
}

/// Goal: tearing down an executor with everything that waits is no fault: so a test cuts the power.
#[test]
fn tearing_down_is_none() {
    let (core, mut executor, _) = bench();
    let line = Rc::new(WaitQueue::new(&core, 1));
    let timers = Rc::new(Timers::new(&core, 1));
    executor.spawn(async move {
        join(line.wait(), timers.sleep_until(Tick(1))).await;
    });
    executor.run();
    drop(executor);
    assert!(!core.is_running());
}
