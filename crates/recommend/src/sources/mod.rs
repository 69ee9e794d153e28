//! Where candidates come from. Each source looks among the admitted rows alone, so a filter acts before anything is cut off.

mod embedding;
mod fill;
mod fresh;
mod given;
mod item_to_item;
mod popular;

pub(crate) use embedding::Embedding;
pub(crate) use fill::Fill;
pub(crate) use fresh::{Fresh, newest};
pub(crate) use given::Given;
pub(crate) use item_to_item::ItemToItem;
pub(crate) use popular::{Popular, popular};

/// All sources, at most eight; the place is the bit in [`Candidates::found_by`](crate::candidates::Candidates::found_by).
const NAMES: [&str; 6] = ["embedding", "item_to_item", "popular", "fresh", "fill", "given"];

/// The bit of a source.
pub(crate) fn bit(source: &str) -> u8 {
    NAMES.iter().position(|name| *name == source).map_or(0, |place| 1 << place)
}

/// The names of bits.
pub(crate) fn names(bits: u8) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().enumerate().filter(move |(place, _)| bits >> place & 1 == 1).map(|(_, name)| name)
}
