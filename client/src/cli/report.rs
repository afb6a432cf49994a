//! Text for a terminal: lines and tables, without characters that control the terminal or hide text.

/// Lines to print. Each line is sanitized when it is added.
#[derive(Debug, Default)]
pub(crate) struct Report(String);

impl Report {
    pub(crate) fn line(&mut self, text: &str) {
        self.0.push_str(sanitize(text).trim_end());
        self.0.push('\n');
    }

    /// Adds an empty line, unless the report is empty.
    pub(crate) fn blank(&mut self) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
    }

    /// Adds a heading and the indented lines; nothing if there are no lines.
    pub(crate) fn section<T: AsRef<str>>(&mut self, heading: &str, lines: &[T]) {
        if lines.is_empty() {
            return;
        }
        self.blank();
        self.line(heading);
        for line in lines {
            self.line(&format!("  {}", line.as_ref()));
        }
    }

    pub(crate) fn table(&mut self, table: &Table) {
        for line in table.lines() {
            self.line(&line);
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// Rows under headings. A column that is empty in every row is omitted.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| sanitize(&cell)).collect());
    }

    /// Returns the line of headings and a line for each row.
    pub(crate) fn lines(&self) -> Vec<String> {
        let widths: Vec<usize> = (0..self.headings.len()).map(|column| self.width(column)).collect();
        let headings = self.headings.iter().map(ToString::to_string).collect();
        std::iter::once(&headings).chain(&self.rows).map(|cells| align(cells, &widths)).collect()
    }

    /// Returns the width of the widest cell including the heading; 0 if all cells are empty.
    fn width(&self, column: usize) -> usize {
        let widest = self.rows.iter().filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count()).max();
        match widest.unwrap_or_default() {
            0 => 0,
            widest => widest.max(self.headings.get(column).map_or(0, |heading| heading.chars().count())),
        }
    }
}

fn align(cells: &[String], widths: &[usize]) -> String {
    let columns = cells.iter().zip(widths).filter(|(_, width)| **width > 0);
    let padded: Vec<String> = columns.map(|(cell, width)| format!("{cell:width$}")).collect();
    padded.join("  ").trim_end().to_owned()
}

/// Returns the text on one line, without control characters and without characters that reorder or hide text.
pub(crate) fn sanitize(text: &str) -> String {
    text.chars()
        .map(|char| if matches!(char, '\n' | '\t') { ' ' } else { char })
        .filter(|char| !is_unprintable(*char))
        .collect()
}

/// True for control characters (C0 and C1), bidirectional controls and invisible characters.
pub(crate) fn is_unprintable(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_drops_terminal_controls() {
        let mut report = Report::default();

        report.line("a\u{1b}[2Jb\r\u{9b}31mc\nd\u{202e}e\u{200b}\u{7f}f\u{7}");

        assert_eq!(report.into_text(), "a[2Jb31mc def\n");
    }

    #[test]
    fn columns_align_and_empty_ones_are_omitted() {
        let mut table = Table::new(&["NAME", "NOTHING", "TITLE"]);
        table.row(["openssl".into(), String::new(), "one".into()]);
        table.row(["z\u{1b}z".into(), String::new(), "two".into()]);

        assert_eq!(table.lines(), ["NAME     TITLE", "openssl  one", "zz       two"]);
    }
}
