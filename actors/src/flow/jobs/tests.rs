use super::*;

fn jobs() -> Jobs<u8, char> {
    Jobs::new(Bounds { jobs: 4, bytes: 100, tries: 2 })
}

fn next(jobs: &mut Jobs<u8, char>) -> (u64, u8, char) {
    let Handed { turn, worker, job } = jobs.next().expect("there is a job and credit");
    (turn, worker, job)
}

#[test]
fn jobs_go_to_whoever_has_the_most_credit_left() {
    let mut jobs = jobs();
    for job in ['a', 'b', 'c', 'd'] {
        jobs.submit(job, 1).unwrap();
    }
    assert_eq!(jobs.next(), None, "there is nobody");
    assert_eq!((jobs.enlist(1, 1), jobs.enlist(2, 2)), (Ok(true), Ok(true)));
    assert_eq!(next(&mut jobs), (0, 2, 'a'));
    assert_eq!(next(&mut jobs), (1, 1, 'b'));
    assert_eq!(next(&mut jobs), (2, 2, 'c'));
    assert_eq!(jobs.next(), None, "nobody has credit left");
    assert!(!jobs.done(1));
    assert_eq!(next(&mut jobs), (3, 1, 'd'));
    let report = jobs.report();
    assert_eq!((report.waiting, report.under_way, report.done, report.bytes), (0, 3, 1, 3));
}

#[test]
fn equal_workers_take_turns() {
    let mut jobs = jobs();
    for worker in [1, 2] {
        jobs.enlist(worker, 1).unwrap();
    }
    for (turn, worker) in [(0, 1), (1, 2), (2, 1), (3, 2)] {
        jobs.submit('x', 1).unwrap();
        assert_eq!(next(&mut jobs), (turn, worker, 'x'));
        jobs.done(turn);
    }
}

#[test]
fn what_has_no_room_is_refused_and_what_is_under_way_takes_room() {
    let mut jobs = jobs();
    jobs.enlist(1, 9).unwrap();
    assert_eq!(jobs.submit('x', 101), Err(WorkError::TooLarge { bytes: 101, most: 100 }));
    jobs.submit('a', 60).unwrap();
    assert_eq!(next(&mut jobs).2, 'a');
    assert_eq!(jobs.submit('x', 41), Err(WorkError::Full { jobs: 1, bytes: 60 }));
    for _ in 0..3 {
        jobs.submit('b', 1).unwrap();
    }
    assert_eq!(jobs.submit('x', 1), Err(WorkError::Full { jobs: 4, bytes: 63 }));
    jobs.done(0);
    jobs.submit('c', 41).unwrap();
    assert_eq!(jobs.report().refused, 3);
}

#[test]
fn what_a_lost_worker_had_takes_its_old_place() {
    let mut jobs = jobs();
    jobs.enlist(1, 2).unwrap();
    for job in ['a', 'b', 'c', 'd'] {
        jobs.submit(job, 1).unwrap();
    }
    let turns = [next(&mut jobs).0, next(&mut jobs).0];
    assert_eq!(jobs.lost(1), []);
    assert!(!jobs.done(turns[0]), "nobody waits for that any more");
    assert_eq!((jobs.report().done, jobs.report().redone), (0, 2));
    jobs.enlist(2, 4).unwrap();
    let order: Vec<_> = std::iter::from_fn(|| jobs.next()).map(|handed| handed.job).collect();
    assert_eq!(order, ['a', 'b', 'c', 'd']);
    assert_eq!(jobs.lost(2), ['a', 'b'], "they have been tried twice");
    let report = jobs.report();
    assert_eq!((report.waiting, report.given_up, report.workers, report.bytes), (2, 2, 0, 2));
    assert_eq!(jobs.drain(), ['c', 'd']);
    assert_eq!((jobs.report().bytes, jobs.report().given_up), (0, 4));
}

#[test]
fn only_a_try_that_may_have_begun_counts() {
    let mut jobs = jobs();
    jobs.enlist(1, 1).unwrap();
    jobs.submit('a', 1).unwrap();
    for untouched in [true, true, false] {
        let (turn, ..) = next(&mut jobs);
        assert_eq!(jobs.failed(turn, untouched), (None, false));
    }
    let (turn, ..) = next(&mut jobs);
    assert_eq!(jobs.failed(turn, false), (Some('a'), false));
    assert_eq!(jobs.failed(turn, false), (None, false));
}

#[test]
fn who_rests_or_leaves_gets_nothing() {
    let mut jobs = jobs();
    jobs.enlist(1, 1).unwrap();
    for job in ['a', 'b'] {
        jobs.submit(job, 1).unwrap();
    }
    assert_eq!((jobs.rest(1), jobs.rest(1), jobs.next()), (true, false, None));
    jobs.rested(1);
    let (turn, ..) = next(&mut jobs);
    assert!(!jobs.dismiss(1), "it has a job");
    assert!(jobs.done(turn), "that was its last");
    assert_eq!(jobs.next(), None);
    assert_eq!((jobs.report().workers, jobs.enlist(1, 1)), (0, Ok(true)));
    assert_eq!(jobs.enlist(1, 3), Ok(false));
    assert!(jobs.dismiss(1) && !jobs.dismiss(1));
}

#[test]
fn workers_have_a_bound() {
    let mut jobs = Jobs::<usize, ()>::new(Bounds { jobs: 1, bytes: 1, tries: 1 });
    for worker in 0..MOST_WORKERS {
        jobs.enlist(worker, 1).unwrap();
    }
    let refused = jobs.enlist(MOST_WORKERS, 1);
    assert_eq!(refused, Err(WorkError::TooManyWorkers(MOST_WORKERS)));
    assert_eq!(jobs.enlist(0, 2), Ok(false), "who is there may stay");
}
