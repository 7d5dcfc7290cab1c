//! `--html FILE`: what was measured, drawn on a page that needs nothing else: no script, no font, no other file.
//!
//! | room | concept |
//! |---|---|
//! | `axis` | where values lie |
//! | `plot` | bars and lines |

mod axis;
mod plot;

use std::fmt::Write;

use crate::{
    report::{Distributions, Shown, figure},
    settings::Settings,
    statistics::SHARES,
    suite::Better,
};
use axis::Axis;
use plot::{Bar, Line, Look, bars, escaped, lines};

const STYLE: &str = include_str!("style.css");

/// The page for one run of a suite.
pub(crate) fn page(
    suite: &str,
    settings: Settings,
    shown: &[Shown],
    distributions: &[Distributions],
) -> String {
    let title = format!("actogen-bench {suite}");
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    );
    let Settings { placement, mtu, pinned } = settings;
    let pinned = if pinned { "pinned to one processor" } else { "not pinned" };
    let rounds = shown.first().map_or(0, |shown| shown.summary.n);
    let _ = writeln!(
        page,
        "<p>Placement {}, MTU {mtu}, {pinned}, {rounds} rounds.</p>",
        placement.name()
    );
    let mut figures = Figures { page, count: 0 };
    figures.ratios(shown);
    figures.memory(shown);
    for distribution in distributions {
        figures.distribution(distribution);
    }
    for (name, points) in series(shown) {
        figures.series(name, &points);
    }
    let mut page = figures.page;
    table(&mut page, shown);
    page + "</main>\n</body>\n</html>\n"
}

struct Figures {
    page: String,
    count: usize,
}

impl Figures {
    fn put(&mut self, title: &str, about: &str, draw: impl FnOnce(&str, &str) -> String) {
        self.count += 1;
        let svg = draw(&format!("figure-{}", self.count), title);
        let (title, about) = (escaped(title), escaped(about));
        let _ = write!(
            self.page,
            "<section>\n<h2>{title}</h2>\n<figure>\n{svg}\n<figcaption>{about}</figcaption>\n</figure>\n</section>\n"
        );
    }

    fn ratios(&mut self, shown: &[Shown]) {
        let rows: Vec<_> = shown.iter().filter_map(ratio).collect();
        if !rows.is_empty() {
            let about = "The line at 1 is the reference. A short upright line in a measure's own row is its goal; a bar that misses it is pale with a broken edge.";
            self.put("Ratio to the reference", about, |id, title| {
                bars(id, title, "ours / reference", &rows)
            });
        }
    }

    fn memory(&mut self, shown: &[Shown]) {
        let rows: Vec<_> = shown.iter().filter_map(held).collect();
        if !rows.is_empty() {
            let about = "The most that either process held above what it held at rest, as a part of what it may hold.";
            self.put("Memory in a flood", about, |id, title| {
                bars(id, title, "held / bound", &rows)
            });
        }
    }

    fn distribution(&mut self, distributions: &Distributions) {
        let Distributions { measure, ours, reference } = distributions;
        let points = |times: &[f64]| SHARES.into_iter().zip(times.iter().copied()).collect();
        let all = || ours.iter().chain(reference).copied();
        let least = all().fold(f64::INFINITY, f64::min).max(0.001);
        let up = Axis::logarithmic("time to the answer (us)", least, all().fold(1.0, f64::max));
        let across = Axis::rarity("share of requests that took no longer (%)", 99.9);
        let name = measure.name.split('_').next().unwrap_or(measure.name);
        let about = "Medians over the rounds. What 90, 99 and 99.9 of a hundred stay within is equally far apart.";
        self.put(&format!("Times of {name}"), about, |id, title| {
            let ours = Line { name: "actogen".into(), points: points(ours), look: Look::Ours };
            let reference = Line {
                name: measure.reference.unwrap_or("reference").into(),
                points: points(reference),
                look: Look::Reference,
            };
            lines(id, title, &across, &up, &[ours, reference])
        });
    }

    fn series(&mut self, name: &str, points: &[(f64, &Shown)]) {
        if name == "scale_payload" {
            return self.throughput(points);
        }
        let (item, of) = match name.strip_prefix("group_") {
            Some(what) => ("members", format!(": {what}")),
            None => (name.trim_start_matches("scale_"), String::new()),
        };
        let ticks = points.iter().map(|&(n, _)| (n, format!("{n}"))).collect();
        let across = Axis::logarithmic_at(&format!("number of {item}"), ticks);
        let costs: Vec<_> = points.iter().map(|(n, shown)| (*n, shown.summary.value)).collect();
        let base: Vec<_> = points
            .iter()
            .filter_map(|(n, shown)| Some((*n, shown.summary.compared?.reference)))
            .collect();
        let goal = points.iter().find_map(|(_, shown)| shown.measure.floor);
        let unit = points.first().map_or("", |(_, shown)| shown.measure.unit);
        let mut all = vec![Line { name: "actogen".into(), points: costs, look: Look::Ours }];
        if let Some(goal) = goal {
            let points = base.iter().map(|(n, cost)| (*n, cost * goal)).collect();
            all.push(Line { name: format!("{goal} times the base"), points, look: Look::Goal });
        }
        let against = points.first().and_then(|(_, shown)| shown.measure.reference);
        let base_name = format!("in the same rounds: {}", against.unwrap_or("the base"));
        all.push(Line { name: base_name, points: base, look: Look::Reference });
        let most =
            all.iter().flat_map(|line| &line.points).map(|point| point.1).fold(1.0, f64::max);
        let up = Axis::linear(&format!("cost of an item ({unit})"), most);
        self.put(&format!("Cost over {item}{of}"), "Lower is better.", |id, title| {
            lines(id, title, &across, &up, &all)
        });
    }

    /// Bytes a second over the size of messages.
    fn throughput(&mut self, points: &[(f64, &Shown)]) {
        // Nothing a second is nothing to draw.
        let points: Vec<_> = points.iter().filter(|(bytes, _)| *bytes > 0.0).collect();
        let ticks = points.iter().map(|(bytes, _)| (*bytes, size(*bytes))).collect();
        let across = Axis::logarithmic_at("size of a message", ticks);
        let rate = |bytes: f64, nanoseconds: f64| bytes * 1000.0 / nanoseconds;
        let ours = points.iter().map(|(n, shown)| (*n, rate(*n, shown.summary.value))).collect();
        let reference = points
            .iter()
            .filter_map(|(n, shown)| Some((*n, rate(*n, shown.summary.compared?.reference))))
            .collect();
        let all = [
            Line { name: "actogen".into(), points: ours, look: Look::Ours },
            Line { name: "bare quinn, framed".into(), points: reference, look: Look::Reference },
        ];
        let most = all.iter().flat_map(|line| &line.points).map(|point| point.1);
        let up = Axis::linear("throughput (MB/s)", most.fold(1.0, f64::max));
        self.put("Throughput over the size of messages", "Higher is better.", |id, title| {
            lines(id, title, &across, &up, &all)
        });
    }
}

/// The bar of a measure that is compared with something.
fn ratio(shown: &Shown) -> Option<Bar> {
    let (measure, ratio) = (shown.measure, shown.summary.compared?.ratio);
    let (better, reached): (_, fn(f64, f64) -> bool) = match measure.better {
        Better::Higher => ("higher", |ratio, goal| ratio >= goal),
        Better::Lower => ("lower", |ratio, goal| ratio <= goal),
    };
    let goal = measure.floor.map_or(String::new(), |goal| format!(", goal {goal}"));
    Some(Bar {
        name: measure.name.into(),
        length: ratio,
        goal: measure.floor,
        reached: measure.floor.is_none_or(|goal| reached(ratio, goal)),
        text: format!("{ratio:.2} ({better} is better{goal})"),
    })
}

/// The bar of what a flood has held of what it may hold.
fn held(shown: &Shown) -> Option<Bar> {
    let of = |name| shown.more.iter().find(|more| more.0 == name).map(|more| more.1 as f64);
    let (held, bound) = (of("rss_above_idle_bytes")?, of("bound_bytes")?);
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    Some(Bar {
        name: shown.measure.name.into(),
        length: held / bound,
        goal: Some(1.0),
        reached: held <= bound,
        text: format!("{:.1} of {:.0} MiB", mib(held), mib(bound)),
    })
}

/// Measures whose names end with a number, by what stands before it.
fn series(shown: &[Shown]) -> Vec<(&str, Vec<(f64, &Shown)>)> {
    let mut series: Vec<(&str, Vec<_>)> = Vec::new();
    for shown in shown {
        let Some((name, number)) = shown.measure.name.rsplit_once('_') else { continue };
        let Ok(number) = number.parse::<f64>() else { continue };
        // What is measured of one size at once lies between those of others.
        match series.iter_mut().find(|(other, _)| *other == name) {
            Some((_, points)) => points.push((number, shown)),
            None => series.push((name, vec![(number, shown)])),
        }
    }
    series
}

fn size(bytes: f64) -> String {
    match bytes {
        large if large >= 1_048_576.0 => format!("{} MiB", large / 1_048_576.0),
        middle if middle >= 1024.0 => format!("{} KiB", middle / 1024.0),
        small => format!("{small} B"),
    }
}

fn table(page: &mut String, shown: &[Shown]) {
    *page += "<section>\n<h2>Figures</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>measure</th><th>value</th><th>least</th><th>most</th><th>unit</th><th>better</th><th>reference</th><th>its value</th><th>ratio</th></tr></thead>\n<tbody>\n";
    for Shown { measure, summary, more } in shown {
        let better = match measure.better {
            Better::Higher => "higher",
            Better::Lower => "lower",
        };
        let (reference, ratio) = summary.compared.map_or(Default::default(), |compared| {
            (figure(compared.reference), format!("{:.3}", compared.ratio))
        });
        let _ = writeln!(
            page,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td class=\"text\">{}</td><td class=\"text\">{better}</td><td class=\"text\">{}</td><td>{reference}</td><td>{ratio}</td></tr>",
            escaped(measure.name),
            figure(summary.value),
            figure(summary.min),
            figure(summary.max),
            escaped(measure.unit),
            escaped(measure.reference.unwrap_or_default())
        );
        for (name, value) in more {
            let _ = writeln!(page, "<tr class=\"more\"><th>{name}</th><td>{value}</td></tr>");
        }
    }
    *page += "</tbody>\n</table></div>\n</section>\n";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        settings::Placement,
        statistics::{Compared, Summary},
        suite::Measure,
    };

    const fn measure(name: &'static str, better: Better, floor: Option<f64>) -> Measure {
        Measure { name, unit: "ns", better, reference: Some("a < b"), floor }
    }

    static TELL: Measure = measure("tell", Better::Higher, Some(2.0));
    static ASK: Measure = measure("ask64_p50", Better::Lower, Some(2.0));
    static FEW: Measure = measure("scale_actors_10", Better::Lower, None);
    static MANY: Measure = measure("scale_actors_1000", Better::Lower, Some(2.0));
    static EMPTY: Measure = measure("scale_payload_0", Better::Lower, None);
    static LARGE: Measure = measure("scale_payload_1048576", Better::Lower, None);
    static FLOOD: Measure = Measure { reference: None, ..measure("flood", Better::Higher, None) };

    fn shown(measure: &'static Measure, ratio: f64) -> Shown {
        let compared = Some(Compared { reference: 100.0, ratio });
        let summary = Summary { value: 100.0 * ratio, min: 1.0, max: 1e3, n: 3, compared };
        Shown { measure, summary, more: Vec::new() }
    }

    #[test]
    fn a_goal_is_reached_from_its_own_side() {
        for (measure, ratio, is_reached) in
            [(&TELL, 1.5, false), (&TELL, 2.0, true), (&ASK, 1.5, true), (&ASK, 2.5, false)]
        {
            let bar = super::ratio(&shown(measure, ratio)).unwrap();
            assert_eq!(bar.reached, is_reached, "{} {ratio}", measure.name);
        }
    }

    #[test]
    fn numbered_measures_are_series() {
        let all = [
            shown(&TELL, 1.0),
            shown(&FEW, 1.0),
            shown(&EMPTY, 1.0),
            shown(&MANY, 1.5),
            shown(&LARGE, 1.0),
        ];
        let found: Vec<_> = series(&all)
            .into_iter()
            .map(|(name, points)| (name, points.iter().map(|point| point.0).collect::<Vec<_>>()))
            .collect();
        let expected =
            [("scale_actors", vec![10.0, 1000.0]), ("scale_payload", vec![0.0, 1_048_576.0])];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_page_has_a_figure_for_each_thing_and_needs_nothing_else() {
        let mut flood = shown(&FLOOD, 1.0);
        flood.summary.compared = None;
        flood.more = vec![("rss_above_idle_bytes", 16 << 20), ("bound_bytes", 64 << 20)];
        let all =
            [shown(&TELL, 1.0), shown(&FEW, 1.0), shown(&MANY, 1.5), shown(&LARGE, 1.0), flood];
        let times: Vec<f64> = SHARES.iter().map(|share| 100.0 + share).collect();
        let distributions = Distributions { measure: &ASK, ours: times.clone(), reference: times };
        let settings = Settings { placement: Placement::Inline, mtu: 1452, pinned: true };
        let page = page("all", settings, &all, &[distributions]);
        for title in [
            "Ratio to the reference",
            "Memory in a flood",
            "Times of ask64",
            "Cost over actors",
            "Throughput over the size of messages",
        ] {
            assert!(page.contains(&format!("<h2>{title}</h2>")), "{title}");
        }
        assert_eq!(page.matches("<svg role=\"img\"").count(), 5);
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(page.contains("16.0 of 64 MiB") && page.contains("a &lt; b"), "{page}");
        for foreign in ["<script", "http", "url(\"", "@import", "src=", "href="] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}
