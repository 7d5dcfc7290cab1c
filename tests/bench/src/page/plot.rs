//! Plots as SVG: bars and lines, each with a title, units and a description for those who do not see it.

use std::fmt::Write;

use super::axis::Axis;

const WIDTH: f64 = 760.0;
/// Room for the names of bars.
const NAMES: f64 = 175.0;
/// Room for what is written behind bars.
const VALUES: f64 = 205.0;
const ROW: f64 = 30.0;
const HEIGHT: f64 = 340.0;
/// Room around the area of lines: left, right, top, bottom.
const AROUND: [f64; 4] = [76.0, 24.0, 40.0, 52.0];

/// One bar, and the line that it is to reach or not to cross.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) length: f64,
    /// Where the line stands.
    pub(super) goal: Option<f64>,
    pub(super) reached: bool,
    /// What is written behind it.
    pub(super) text: String,
}

/// One line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) look: Look,
}

/// How a line looks. Not by its colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Ours,
    Reference,
    Goal,
}

impl Look {
    fn class(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Reference => "reference",
            Self::Goal => "goal",
        }
    }
}

/// Text as it may stand in a document.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Horizontal bars over a linear axis, with a line at 1 where that is within it.
pub(super) fn bars(id: &str, title: &str, label: &str, bars: &[Bar]) -> String {
    let most = bars.iter().flat_map(|bar| [bar.length, bar.goal.unwrap_or(0.0)]);
    let axis = Axis::linear(label, most.fold(1.0, f64::max));
    let bottom = 34.0 + ROW * bars.len() as f64;
    let x = |value: f64| NAMES + axis.place(value) * (WIDTH - NAMES - VALUES);
    let description =
        bars.iter().map(|bar| format!("{}: {}. ", bar.name, bar.text)).collect::<String>();
    let mut svg = open(id, title, &description, bottom + 48.0);
    for (at, text) in &axis.ticks {
        let x = x(*at);
        let class = if *at == 1.0 { "one" } else { "grid" };
        line(&mut svg, class, [x, 30.0, x, bottom]);
        words(&mut svg, "middle", [x, bottom + 16.0], text);
    }
    words(
        &mut svg,
        "middle",
        [x(axis.ticks.last().map_or(1.0, |last| last.0) / 2.0), bottom + 36.0],
        &axis.label,
    );
    for (row, bar) in bars.iter().enumerate() {
        let top = 34.0 + ROW * row as f64;
        let class = if bar.reached { "bar" } else { "bar short" };
        let _ = write!(
            svg,
            r#"<rect class="{class}" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}"/>"#,
            x(0.0),
            top + 4.0,
            (x(bar.length) - x(0.0)).max(1.0),
            ROW - 10.0
        );
        words(&mut svg, "end", [NAMES - 8.0, top + 19.0], &bar.name);
        words(&mut svg, "start", [WIDTH - VALUES + 10.0, top + 19.0], &bar.text);
        if let Some(goal) = bar.goal {
            line(&mut svg, "goal", [x(goal), top, x(goal), top + ROW - 2.0]);
        }
    }
    svg + "</svg>"
}

/// Lines over two axes, with their names above.
pub(super) fn lines(id: &str, title: &str, across: &Axis, up: &Axis, lines: &[Line]) -> String {
    let [left, right, top, bottom] = AROUND;
    let x = |value: f64| left + across.place(value) * (WIDTH - left - right);
    let y = |value: f64| HEIGHT - bottom - up.place(value) * (HEIGHT - top - bottom);
    let mut description = format!("{} over {}. ", up.label, across.label);
    for line in lines {
        let ends = line.points.first().zip(line.points.last());
        if let Some((first, last)) = ends {
            let _ = write!(
                description,
                "{}: {:.4} at {} to {:.4} at {}. ",
                line.name, first.1, first.0, last.1, last.0
            );
        }
    }
    let mut svg = open(id, title, &description, HEIGHT);
    for (at, text) in &across.ticks {
        line(&mut svg, "grid", [x(*at), top, x(*at), HEIGHT - bottom]);
        words(&mut svg, "middle", [x(*at), HEIGHT - bottom + 17.0], text);
    }
    for (at, text) in &up.ticks {
        line(&mut svg, "grid", [left, y(*at), WIDTH - right, y(*at)]);
        words(&mut svg, "end", [left - 7.0, y(*at) + 4.0], text);
    }
    words(&mut svg, "middle", [(left + WIDTH - right) / 2.0, HEIGHT - 10.0], &across.label);
    let middle = (top + HEIGHT - bottom) / 2.0;
    let _ = write!(
        svg,
        r#"<text text-anchor="middle" transform="translate(16 {middle}) rotate(-90)">{}</text>"#,
        escaped(&up.label)
    );
    let mut name_at = left;
    for one in lines {
        let class = one.look.class();
        let points: Vec<_> =
            one.points.iter().map(|&(a, b)| format!("{:.1},{:.1}", x(a), y(b))).collect();
        let _ = write!(svg, r#"<polyline class="{class}" points="{}"/>"#, points.join(" "));
        if one.look != Look::Goal {
            for &(a, b) in &one.points {
                dot(&mut svg, one.look, [x(a), y(b)]);
            }
            dot(&mut svg, one.look, [name_at + 12.0, 24.0]);
        }
        line(&mut svg, class, [name_at, 24.0, name_at + 24.0, 24.0]);
        words(&mut svg, "start", [name_at + 30.0, 28.0], &one.name);
        name_at += 50.0 + 7.2 * one.name.chars().count() as f64;
    }
    svg + "</svg>"
}

fn open(id: &str, title: &str, description: &str, height: f64) -> String {
    format!(
        r#"<svg role="img" viewBox="0 0 {WIDTH} {height}" aria-labelledby="{id}-title {id}-text"><title id="{id}-title">{}</title><desc id="{id}-text">{}</desc>"#,
        escaped(title),
        escaped(description.trim_end())
    )
}

fn line(svg: &mut String, class: &str, [x1, y1, x2, y2]: [f64; 4]) {
    let _ = write!(
        svg,
        r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#
    );
}

fn words(svg: &mut String, anchor: &str, [x, y]: [f64; 2], text: &str) {
    let text = escaped(text);
    let _ = write!(svg, r#"<text text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{text}</text>"#);
}

/// Round for ours, square for the reference.
fn dot(svg: &mut String, look: Look, [x, y]: [f64; 2]) {
    let _ = match look {
        Look::Ours => write!(svg, r#"<circle class="dot ours" cx="{x:.1}" cy="{y:.1}" r="3.5"/>"#),
        _ => write!(
            svg,
            r#"<rect class="dot reference" x="{:.1}" y="{:.1}" width="6" height="6"/>"#,
            x - 3.0,
            y - 3.0
        ),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_have_their_lengths_lines_and_texts() {
        let bar = |name: &str, length, goal| Bar {
            name: name.into(),
            length,
            goal,
            reached: true,
            text: format!("{length} of \"it\""),
        };
        let svg =
            bars("a", "A <title>", "ratio", &[bar("one", 1.0, None), bar("two", 2.0, Some(1.5))]);
        assert!(svg.contains("<title id=\"a-title\">A &lt;title&gt;</title>"), "{svg}");
        assert!(svg.contains("one: 1 of &quot;it&quot;. two: 2 of &quot;it&quot;."), "{svg}");
        assert_eq!(svg.matches("class=\"bar\"").count(), 2);
        assert_eq!(svg.matches("class=\"goal\"").count(), 1);
        // Half as long, and as long as there is room.
        assert!(svg.contains("width=\"190.0\"") && svg.contains("width=\"380.0\""), "{svg}");
    }

    #[test]
    fn lines_keep_within_their_area_and_say_where_they_go() {
        let (across, up) = (Axis::logarithmic("N", 1.0, 100.0), Axis::linear("ns", 10.0));
        let one = Line {
            name: "ours".into(),
            points: vec![(1.0, 0.0), (10.0, 5.0), (100.0, 10.0)],
            look: Look::Ours,
        };
        let svg = lines("b", "B", &across, &up, &[one]);
        assert!(svg.contains("points=\"76.0,288.0 406.0,164.0 736.0,40.0\""), "{svg}");
        assert!(svg.contains("ours: 0.0000 at 1 to 10.0000 at 100."), "{svg}");
        // Those of the line, and one beside its name.
        assert_eq!(svg.matches("<circle").count(), 4);
    }
}
