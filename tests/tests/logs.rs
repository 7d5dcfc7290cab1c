//! What processes put out and what programs trace, at the root.

#![allow(clippy::unwrap_used, reason = "this is all test code")]

use std::{collections::BTreeMap, io::Write, os::unix::fs::PermissionsExt, time::Duration};

use actogen::{Level, LogRecord, LogRecords, Source, prelude::*};
use actogen_tests::until::soon;

actogen::test_child!();

/// Says numbers in each of the three ways.
#[actogen::function(name = "logs.say")]
fn say(from: u32, to: u32) {
    let job = tracing::warn_span!("saying", from).entered();
    for n in from..to {
        println!("out {n}");
        eprintln!("err {n}");
        tracing::warn!(target: "app::count", n, "event");
        tracing::info!("nobody asked for this");
    }
    drop(job);
}

/// Puts out one line of so many bytes.
#[actogen::function(name = "logs.long_line")]
fn long_line(bytes: usize) {
    let mut line = vec![b'x'; bytes];
    line.push(b'\n');
    std::io::stdout().write_all(&line).unwrap();
    println!("after");
}

/// Puts out many lines, as fast as it can.
#[actogen::function(name = "logs.flood", blocking)]
fn flood(lines: u32) {
    for n in 0..lines {
        tracing::error!(target: "app::flood", "{n} {}", "x".repeat(1000));
    }
}

/// Starts a child and leaves it to live as long as this one.
#[actogen::function(name = "logs.grow")]
async fn grow(cx: Context) -> actogen::Result<actogen::Place> {
    let child = cx.launch(Launch::local()).await?;
    Ok(child.place())
}

/// Without a subscriber a root puts out whatever comes; the log of these tests need not have it.
fn show_nothing() {
    // Another test of this process may have done it.
    let _ = tracing::subscriber::set_global_default(tracing::subscriber::NoSubscriber::new());
}

fn kind(record: &LogRecord) -> &'static str {
    match &record.source {
        Source::Stdout => "out",
        Source::Stderr => "err",
        _ => "event",
    }
}

async fn next(logs: &mut LogRecords) -> LogRecord {
    match soon("a record", logs.next()).await.unwrap() {
        Ok(record) => (*record).clone(),
        Err(missed) => panic!("{missed} records were not taken in time"),
    }
}

/// Lines and events of a child and of a grandchild come to the root, each source's in its order, with what is known of it.
#[actogen::test]
async fn m17_lines_and_events_of_child_and_grandchild_arrive_in_order(
    cx: Context,
) -> actogen::Result<()> {
    const COUNT: u32 = 100;
    show_nothing();
    let mut logs = cx.logs();
    let child = cx.launch(Launch::local()).await?;
    let below = child.call::<grow>(()).await?;
    let places = [child.place(), below];
    for from in [0, COUNT / 2] {
        for place in places {
            cx.call_in::<say>(place, (from, from + COUNT / 2)).await?;
        }
    }
    let mut seen = BTreeMap::<_, Vec<u32>>::new();
    while seen.values().map(Vec::len).sum::<usize>() < 6 * COUNT as usize {
        let record = next(&mut logs).await;
        let number = match &record.source {
            Source::Event { level, target, spans } => {
                assert_eq!((*level, &**target), (Level::Warn, "app::count"), "{record}");
                let number: u32 = record.text.strip_prefix("event n=").unwrap().parse()?;
                let from = if number < COUNT / 2 { 0 } else { COUNT / 2 };
                assert_eq!(spans[..], [format!("saying{{from={from}}}")]);
                Some(number)
            }
            // The harness of the tests has something to say as well.
            _ => record.text.strip_prefix(kind(&record)).and_then(|rest| rest.trim().parse().ok()),
        };
        if let Some(number) = number {
            seen.entry((record.context.unwrap(), kind(&record))).or_default().push(number);
        }
    }
    let all: Vec<u32> = (0..COUNT).collect();
    for place in places {
        for kind in ["out", "err", "event"] {
            assert_eq!(seen.get(&(place.context, kind)), Some(&all), "{kind} of {}", place.context);
        }
    }
    Ok(())
}

/// Asks a child of this context's to complain, and complains itself.
#[actogen::function(name = "logs.complain")]
async fn complain(cx: Context, below: Option<actogen::Place>) -> actogen::Result<()> {
    if let Some(place) = below {
        cx.call_in::<complain>(place, None).await?;
    }
    tracing::warn!(target: "app::complaint", "it is late");
    Ok(())
}

/// What happens for one request bears its trace in every context, each in a span of its own, and what happens for none bears none.
#[actogen::test]
async fn m17_events_of_one_request_bear_one_trace(cx: Context) -> actogen::Result<()> {
    show_nothing();
    let mut logs = cx.logs();
    let child = cx.launch(Launch::local()).await?;
    let below = child.call::<grow>(()).await?;
    let span = actogen::trace::new_root(&cx);
    for trace in [Some(span), None] {
        let call = async { child.call::<complain>(Some(below)).await };
        actogen::trace::scope(trace, call).await?;
        let mut seen = BTreeMap::new();
        while seen.len() < 2 {
            let record = next(&mut logs).await;
            if record.text == "it is late" {
                seen.insert(record.context.unwrap(), record.trace);
            }
        }
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [child.id(), below.context]);
        let of_trace = seen.values().map(|seen| seen.map(|seen| seen.trace_id));
        assert!(of_trace.eq([trace.map(|trace| trace.trace_id); 2]), "{seen:?}");
        let spans: Vec<_> = seen.values().flatten().map(|seen| seen.span_id).collect();
        assert!(spans.is_empty() || spans[0] != spans[1], "{seen:?}");
    }
    Ok(())
}

/// What a process says before it is a context comes as well, with how it was launched.
#[actogen::test]
async fn m17_the_earliest_lines_are_not_lost(cx: Context) -> actogen::Result<()> {
    show_nothing();
    let mut logs = cx.logs();
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("early");
    let program = std::env::current_exe()?;
    let text =
        format!("#!/bin/sh\necho early; echo first >&2; exec {} \"$@\"\n", program.display());
    std::fs::write(&script, text)?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700))?;
    let child = cx.launch(Launch::local().program(&script)).await?;
    let (mut early, mut first) = (false, false);
    while !(early && first) {
        let record = next(&mut logs).await;
        early |= record.text == "early" && record.source == Source::Stdout;
        first |= record.text == "first" && record.source == Source::Stderr;
        assert_eq!(record.by, "local");
    }
    drop(child);
    Ok(())
}

/// A line of a mebibyte comes whole; a longer one comes in pieces of that length.
#[actogen::test]
async fn m17_a_line_of_a_mebibyte_arrives(cx: Context) -> actogen::Result<()> {
    const MIB: usize = 1024 * 1024;
    show_nothing();
    let mut logs = cx.logs();
    let child = cx.launch(Launch::local()).await?;
    let below = child.call::<grow>(()).await?;
    for place in [child.place(), below] {
        for (bytes, pieces) in [(MIB, &[MIB][..]), (5 * MIB / 2, &[MIB, MIB, MIB / 2])] {
            cx.call_in::<long_line>(place, bytes).await?;
            let mut seen = Vec::new();
            loop {
                let record = next(&mut logs).await;
                if record.context != Some(place.context) || record.source != Source::Stdout {
                    continue;
                }
                if record.text == "after" {
                    break;
                }
                if record.text.starts_with("xxx") {
                    seen.push(record.text.len());
                }
            }
            assert_eq!(seen, pieces);
        }
    }
    Ok(())
}

/// A flood takes no more room than it may; what it loses is counted, and the count arrives.
#[actogen::test]
async fn m17_a_flood_is_bounded_and_says_how_much_it_dropped(cx: Context) -> actogen::Result<()> {
    const LINES: u32 = 100_000;
    show_nothing();
    let mut logs = cx.logs();
    let child = cx.launch(Launch::local()).await?;
    // From a thread of its own: the function does not wait for what it says.
    let call = child.call::<flood>(LINES).within(Duration::from_secs(60));
    let counting = async {
        let (mut came, mut dropped, mut last) = (0, 0, None);
        while came + dropped < u64::from(LINES) {
            match soon("a record", logs.next()).await.unwrap() {
                Ok(record) => {
                    let Source::Event { target, .. } = &record.source else { continue };
                    if target == "actogen::output" {
                        let (count, _) = record.text.split_once(' ').unwrap();
                        dropped += count.parse::<u64>().unwrap();
                    } else if target == "app::flood" {
                        let number: u32 = record.text.split(' ').next().unwrap().parse().unwrap();
                        assert!(last.is_none_or(|last| last < number), "{number} after {last:?}");
                        last = Some(number);
                        came += 1;
                    }
                }
                // This test was too slow to take them.
                Err(missed) => came += missed,
            }
        }
        (came, dropped)
    };
    let ((came, dropped), outcome) = tokio::join!(counting, call);
    outcome?;
    assert!(dropped > 0, "all {came} came: was that a flood?");
    assert!(came > 0);
    // Everything else goes on as before.
    child.call::<say>((0, 1)).await?;
    loop {
        if next(&mut logs).await.text == "out 0" {
            return Ok(());
        }
    }
}

/// Nobody but those below it has the root take records.
#[actogen::test]
async fn m17_a_context_says_nothing_in_anothers_name(cx: Context) -> actogen::Result<()> {
    show_nothing();
    let mut logs = cx.logs();
    let child = cx.launch(Launch::local()).await?;
    child.call::<say>((7, 8)).await?;
    loop {
        let record = next(&mut logs).await;
        if let Source::Event { .. } = record.source {
            // Whatever a context says that it is, its own events bear its own id.
            assert_eq!(record.context, Some(child.id()));
            return Ok(());
        }
    }
}
