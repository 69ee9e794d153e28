//! Where a reader of changes is. Rows are read in the order of their last change, page by page; each round begins a little before
//! where the last one ended, since a transaction that ends late brings rows with an early time.

use tastemaker_types::{Timestamp, Window};

use crate::{Cursor, Page};

/// A reader of changes. What it brings is to be applied any number of times.
#[derive(Debug, Clone)]
pub struct Feed {
    overlap: Window,
    watermark: Option<Timestamp>,
    /// The clock of the database when the round began.
    began: Option<Timestamp>,
}

/// Before any time that the database gives.
const BEGINNING: Timestamp = Timestamp::from_micros(-62_135_500_000_000_000);

impl Feed {
    /// Going on at a watermark of before, or at the beginning.
    pub fn new(watermark: Option<Timestamp>, overlap: Window) -> Self {
        Self { overlap, watermark, began: None }
    }

    /// Everything up to here has been read, but for what transactions under way still bring.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.watermark
    }

    /// Where a round begins.
    pub fn begin(&mut self) -> Cursor {
        self.began = None;
        Cursor { updated: self.watermark.map_or(BEGINNING, |at| at.minus(self.overlap)), id: None }
    }

    /// Takes note of a page that was applied; where the round goes on, if it does.
    pub fn advance(&mut self, page: &Page) -> Option<Cursor> {
        let began = *self.began.get_or_insert(page.clock);
        let reached = match &page.next {
            // A row of the future must not hide those of the present.
            Some(next) => next.updated.min(began),
            None => began,
        };
        self.watermark = Some(self.watermark.map_or(reached, |at| at.max(reached)));
        page.next.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(clock: i64, next: Option<i64>) -> Page {
        let next = next.map(|at| Cursor { updated: Timestamp::from_micros(at), id: Some("x".to_owned()) });
        Page { rows: Vec::new(), clock: Timestamp::from_micros(clock), next }
    }

    #[test]
    fn a_round_ends_at_the_time_at_which_it_began() {
        let mut feed = Feed::new(None, Window::from_micros(10));
        assert_eq!(feed.begin().updated, BEGINNING);
        assert!(feed.advance(&page(1_000, Some(400))).is_some());
        assert_eq!(feed.watermark(), Some(Timestamp::from_micros(400)));
        assert_eq!(feed.advance(&page(1_200, None)), None);
        assert_eq!(feed.watermark(), Some(Timestamp::from_micros(1_000)));
        assert_eq!(feed.begin(), Cursor { updated: Timestamp::from_micros(990), id: None });
    }

    #[test]
    fn rows_of_the_future_do_not_move_the_watermark_there() {
        let mut feed = Feed::new(Some(Timestamp::from_micros(500)), Window::from_micros(0));
        feed.begin();
        feed.advance(&page(1_000, Some(9_000_000)));
        assert_eq!(feed.watermark(), Some(Timestamp::from_micros(1_000)));
    }
}
