//! What goes to stdout and stderr. A verb makes one report; here it becomes text for people or JSON for programs.

use std::io::{self, IsTerminal, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

/// What a verb has to say when it is done.
pub(crate) trait Report: Serialize {
    /// For people; programs get the fields as JSON.
    fn text(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

impl Output {
    /// Prints the report to stdout.
    pub(crate) fn print(self, report: &impl Report) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            serde_json::to_writer_pretty(&mut out, report)?;
            writeln!(out)?;
        } else {
            report.text(&mut out)?;
        }
        out.flush()
    }

    /// Prints a line of text that is not part of the report, to stdout; nothing for programs or when quiet.
    pub(crate) fn say(self, line: &str) -> io::Result<()> {
        if self.json || self.quiet {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// Whether a progress bar would be seen by a person.
    pub(crate) fn interactive(self) -> bool {
        !self.json && !self.quiet && io::stderr().is_terminal()
    }
}

/// Text from elsewhere, such as a value of a file, as a terminal may show it: control characters are spelled out.
pub(crate) fn plain(text: &str) -> String {
    let spell = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(spell).collect()
}

/// The last words of a run that failed: one message on stderr.
pub(crate) fn print_error(message: &str, json: bool) {
    let mut out = io::stderr().lock();
    let lines: Vec<String> = message.lines().map(plain).collect();
    let shown = lines.join("\n");
    // Nobody is left to tell if stderr is closed.
    let _ = if json {
        writeln!(out, "{}", serde_json::json!({ "error": message }))
    } else if out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        writeln!(out, "\x1b[1;31merror:\x1b[0m {shown}")
    } else {
        writeln!(out, "error: {shown}")
    };
}

/// An empty table with these column names; `right` tells which hold numbers.
pub(crate) fn table<const N: usize>(header: [&str; N], right: [bool; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.map(str::to_owned));
    for (column, right) in table.column_iter_mut().zip(right) {
        column.set_cell_alignment(if right { CellAlignment::Right } else { CellAlignment::Left });
        column.set_padding((0, 2));
    }
    table
}

/// Writes a table without the blanks at the ends of its lines.
pub(crate) fn write_table(out: &mut dyn Write, table: &Table) -> io::Result<()> {
    table.to_string().lines().try_for_each(|line| writeln!(out, "{}", line.trim_end()))
}

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time as people say it.
pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3_600.0),
    }
}

/// A number of bytes as people say it.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.25, 61.5, 600.0, 9_000.0].map(seconds), ["250 ms", "61.5 s", "10 min", "2.5 h"]);
        assert_eq!(plain("a\u{1b}[31m\tb\u{9b}ü"), "a\\u{1b}[31m\\tb\\u{9b}ü");
        assert_eq!([5, 2_048, 5 << 30].map(bytes), ["5 B", "2.0 KiB", "5.0 GiB"]);
    }
}
