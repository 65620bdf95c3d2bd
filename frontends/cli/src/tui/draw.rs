//! The view: one head line, the body, one foot line. Only what fits is looked at, so that a
//! thousand nodes cost as much as fifty.

use super::backlog::{Backlog, Row};
use super::keys::HELP;
use super::model::{Model, Place, Tone};
use crate::output::{Step, cause};
use bssh_term::{bare, bytes_text};
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::terminal::Frame;

/// Columns a node's output needs beside others.
const PANE_WIDTH: u16 = 38;
/// Rows it needs.
const PANE_HEIGHT: u16 = 6;
/// Columns of a name in the summary at most.
const NAME: usize = 40;

/// Draws everything; takes note of how much fits.
pub(super) fn draw(model: &mut Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.height < 3 || area.width < 20 {
        buffer.set_stringn(0, 0, "too small", usize::from(area.width), Style::new());
        return;
    }
    head(model, area, buffer);
    let body = Rect { y: 1, height: area.height - 2, ..area };
    let height = usize::from(body.height);
    model.body = (height, 0);
    match model.place {
        Place::Summary => summary(model, body, buffer),
        Place::Detail => detail(model, body, buffer),
        Place::Split => split(model, body, buffer),
        Place::Compare => compare(model, body, buffer),
        Place::Help => {
            for (y, line) in (body.y..body.bottom()).zip(HELP) {
                put(buffer, (2, y), line, Style::new());
            }
        }
    }
    foot(model, area, buffer);
}

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// A text up to the right edge of the buffer.
fn put(buffer: &mut Buffer, (x, y): (u16, u16), text: &str, style: Style) -> u16 {
    let width = usize::from(buffer.area().right().saturating_sub(x));
    buffer.set_stringn(x, y, text, width, style).0
}

fn head(model: &Model, area: Rect, buffer: &mut Buffer) {
    let g = model.look.glyphs;
    let seconds = model.elapsed().as_secs();
    let spinner = match model.is_over() {
        true => g.ended,
        false => g.spinner.get(model.ticks % g.spinner.len().max(1)).copied().unwrap_or_default(),
    };
    let mut x =
        put(buffer, (0, 0), &format!("{spinner} {}:{:02}  ", seconds / 60, seconds % 60), BOLD);
    let steps = [Step::Ok, Step::Failed, Step::Executing, Step::Connecting, Step::Pending];
    for step in steps.into_iter().filter(|step| model.nodes.count(*step) > 0) {
        let text = format!("{} {}  ", glyph(model, step), model.nodes.count(step));
        x = put(buffer, (x, 0), &text, color(step));
    }
    x = put(buffer, (x, 0), &format!("of {}  ", model.nodes.len()), DIM);
    let width = usize::from(area.width.saturating_sub(x));
    buffer.set_stringn(x, 0, &model.title, width, BOLD);
}

fn foot(model: &Model, area: Rect, buffer: &mut Buffer) {
    let at = (0, area.bottom() - 1);
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    let still = model.nodes.len() - model.nodes.count(Step::Ok) - model.nodes.count(Step::Failed);
    let text = if model.asking {
        match model.job {
            Some(job) => format!(
                "{still} nodes have not ended  d leave it running as job {job}  c cancel it  Esc stay"
            ),
            None => format!("cancel the run? {still} nodes have not ended  y/n"),
        }
    } else if model.typing {
        match model.place {
            Place::Detail => format!("find: {}_", model.find),
            _ => format!("node: {}_", model.filter),
        }
    } else if model.cancelling && !model.is_over() {
        "cancelled; waiting for the nodes".to_owned()
    } else if !model.filter.is_empty() && model.place == Place::Summary {
        let n = model.shown().len();
        format!("{:?}: {n} of {} nodes  Esc all  Enter open", model.filter, model.nodes.len())
    } else if !model.note.is_empty() {
        format!("{}  ? help", model.note)
    } else {
        "Enter open  / name  s split  d diff  o order  q leave  ? help".to_owned()
    };
    buffer.set_style(Rect { y: at.1, height: 1, ..area }, reversed);
    put(buffer, at, &text, reversed);
}

fn glyph(model: &Model, step: Step) -> &'static str {
    let g = model.look.glyphs;
    match step {
        Step::Pending => g.pending,
        Step::Connecting => g.connecting,
        Step::Executing => g.executing,
        Step::Ok => g.ok,
        Step::Failed => g.failed,
    }
}

fn color(step: Step) -> Style {
    match step {
        Step::Pending => DIM,
        Step::Connecting => Style::new().fg(Color::Yellow),
        Step::Executing => Style::new().fg(Color::Blue),
        Step::Ok => Style::new().fg(Color::Green),
        Step::Failed => Style::new().fg(Color::Red),
    }
}

fn summary(model: &mut Model, body: Rect, buffer: &mut Buffer) {
    let shown = model.shown();
    model.selected = model.selected.min(shown.len().saturating_sub(1));
    let height = usize::from(body.height);
    // The selected one stays in sight, and the list does not jump.
    let first =
        model.selected.saturating_sub(height - 1).max((model.selected / height.max(1)) * height);
    let first = first.min(shown.len().saturating_sub(height));
    model.body.1 = first;
    let widest = shown.iter().skip(first).take(height);
    let widest = widest.map(|n| model.nodes.name(*n).chars().count()).max().unwrap_or(0).min(NAME);
    for (at, node) in shown.iter().enumerate().skip(first).take(height) {
        let y = body.y + u16::try_from(at - first).unwrap_or(0);
        let step = model.nodes.step(*node);
        let mark = if model.marks.contains(node) { "*" } else { " " };
        let x = put(buffer, (0, y), &format!("{mark}{} ", glyph(model, step)), color(step));
        let name = cut(model.nodes.name(*node), NAME);
        let x = put(buffer, (x, y), &format!("{name:widest$}  "), BOLD);
        let ended = model.nodes.ended.get(*node).and_then(Option::as_ref);
        let why = ended.and_then(|ended| cause(model.nodes.name(*node), ended));
        let x = match why {
            Some(why) => put(buffer, (x, y), &format!("{} ", bare(&why)), color(Step::Failed)),
            None => x,
        };
        if let Some(log) = model.logs.get(*node).filter(|log| log.bytes > 0) {
            let x = put(buffer, (x, y), &format!("{:>9}  ", bytes_text(log.bytes)), DIM);
            put(buffer, (x, y), &log.last(), Style::new());
        }
        if at == model.selected {
            let row = Rect { y, height: 1, ..body };
            buffer.set_style(row, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
    if shown.is_empty() {
        put(buffer, (2, body.y), "no node has that in its name", DIM);
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn detail(model: &mut Model, body: Rect, buffer: &mut Buffer) {
    let title = pane_title(model, model.at);
    put(buffer, (0, body.y), &title.0, title.1);
    let rows = Rect { y: body.y + 1, height: body.height - 1, ..body };
    model.body.0 = usize::from(rows.height);
    let Some(log) = model.logs.get(model.at) else { return };
    let most = log.len().saturating_sub(usize::from(rows.height));
    let first = model.scroll.map_or(most, |first| first.min(most.max(first.min(log.len()))));
    output(model, log, (first, rows), buffer);
}

fn pane_title(model: &Model, node: usize) -> (String, Style) {
    let step = model.nodes.step(node);
    let name = model.nodes.name(node);
    let ended = model.nodes.ended.get(node).and_then(Option::as_ref);
    let why = ended.and_then(|ended| cause(name, ended)).map(|why| format!("  {}", bare(&why)));
    let log = model.logs.get(node);
    let lost = log.map_or(0, |log| log.dropped);
    let lost =
        if lost > 0 { format!("  {lost} lines before these are not kept") } else { String::new() };
    let bytes = log.map_or(0, |log| log.bytes);
    let text = format!(
        "{} {name}  {}{}{lost}",
        glyph(model, step),
        bytes_text(bytes),
        why.unwrap_or_default()
    );
    (text, color(step).add_modifier(Modifier::BOLD))
}

fn output(model: &Model, log: &Backlog, (first, area): (usize, Rect), buffer: &mut Buffer) {
    for (n, y) in (area.y..area.bottom()).enumerate() {
        let Some(row) = log.row_at(first + n) else { break };
        line(model, row, (area, y), buffer);
    }
}

fn line(model: &Model, row: &Row, (area, y): (Rect, u16), buffer: &mut Buffer) {
    let style = if row.err { Style::new().fg(Color::Yellow) } else { Style::new() };
    let text: String = row.text.chars().skip(model.left).collect();
    buffer.set_stringn(area.x, y, &text, usize::from(area.width), style);
    if model.find.is_empty() {
        return;
    }
    for (at, found) in text.match_indices(&model.find) {
        let before = text.get(..at).map_or(0, |t| t.chars().count());
        let (Ok(x), Ok(width)) = (u16::try_from(before), u16::try_from(found.chars().count()))
        else {
            return;
        };
        let x = area.x.saturating_add(x);
        if x.saturating_add(width) <= area.right() {
            let place = Rect { x, y, width, height: 1 };
            buffer.set_style(place, Style::new().add_modifier(Modifier::REVERSED));
        }
    }
}

/// Several nodes' last lines side by side.
fn split(model: &Model, body: Rect, buffer: &mut Buffer) {
    let columns = (body.width / PANE_WIDTH).max(1);
    let rows = (body.height / PANE_HEIGHT).max(1);
    let nodes = model.side_by_side(usize::from(columns * rows));
    let n = u16::try_from(nodes.len()).unwrap_or(u16::MAX).max(1);
    let columns = columns.min(n);
    let rows = n.div_ceil(columns);
    let (width, height) = (body.width / columns, body.height / rows);
    for (at, node) in (0_u16..).zip(nodes) {
        let (x, y) = (at % columns * width, body.y + at / columns * height);
        let (title, style) = pane_title(model, node);
        let inner = usize::from(width - 1);
        buffer.set_stringn(x, y, &title, inner, style.add_modifier(Modifier::UNDERLINED));
        let area = Rect { x, y: y + 1, width: width - 1, height: height - 1 };
        if let Some(log) = model.logs.get(node) {
            let first = log.len().saturating_sub(usize::from(area.height));
            output(model, log, (first, area), buffer);
        }
    }
}

fn compare(model: &Model, body: Rect, buffer: &mut Buffer) {
    let first = model.scroll.unwrap_or(0);
    for (y, (tone, text)) in (body.y..body.bottom()).zip(model.compared.iter().skip(first)) {
        let style = match tone {
            Tone::Head => BOLD.add_modifier(Modifier::UNDERLINED),
            Tone::Plain => Style::new(),
            Tone::More => Style::new().fg(Color::Green),
            Tone::Less => Style::new().fg(Color::Red),
            Tone::Hunk => Style::new().fg(Color::Cyan),
        };
        let text: String = text.chars().skip(model.left).collect();
        put(buffer, (0, y), &text, style);
    }
}
