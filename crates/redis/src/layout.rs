//! Where everything lives in Redis. Any Redis tool can read it; nothing else in this crate makes a name.
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `{prefix}item:{id}` | HASH | each attribute by its name, `:first_seen` (µs since 1970), `:version` (the log position of the last change), and `embedding_<generation>` |
//! | `{prefix}user:{id}` | HASH | attributes and feature values by name, `embedding` (a query for the item index), `:state` (opaque), `:version` |
//! | `{prefix}idx:items:<generation>` | index | over `{prefix}item:`, `embedding_<generation> AS embedding`, and every attribute that filters can use |
//! | `{prefix}idx:items` | alias | of the index of the generation that serves |
//! | `{prefix}meta` | HASH | `generation`, `log_position`, `project`, and where a load stands |
//! | `{prefix}rankings` | STRING | an opaque blob |
//!
//! On clusters whose search module knows nothing of them, index and alias have a part on each node, which has a number in braces behind its name.
//!
//! Field names of ours begin with `:`, which no attribute can. A deleted item or user is, for a while, a hash of nothing but `:version` and
//! `:deleted`.

use tastemaker_config::RedisVectorType;

/// The field with the log position of the last change.
pub const VERSION: &str = ":version";
/// The field that marks a deleted item or user.
pub const DELETED: &str = ":deleted";
/// The field with the time at which an item was first seen, in microseconds since 1970.
pub const FIRST_SEEN: &str = ":first_seen";
/// The field with a user's state.
pub const STATE: &str = ":state";
/// The field with a user's vector, and what queries call the vector of an item.
pub const EMBEDDING: &str = "embedding";

/// The fields of `meta`.
pub mod meta {
    /// The name of the generation that serves.
    pub const GENERATION: &str = "generation";
    /// The position of the log up to which Redis has everything.
    pub const LOG_POSITION: &str = "log_position";
    /// The name of the project.
    pub const PROJECT: &str = "project";
}

/// The names of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    prefix: String,
    item: String,
    user: String,
}

impl Layout {
    /// With `prefix` before every name.
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), item: format!("{prefix}item:"), user: format!("{prefix}user:") }
    }

    /// What every name begins with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What the keys of all items begin with.
    pub fn item_prefix(&self) -> &str {
        &self.item
    }

    /// What the keys of all users begin with.
    pub fn user_prefix(&self) -> &str {
        &self.user
    }

    /// The key of an item.
    pub fn item(&self, id: &str) -> String {
        [&self.item, id].concat()
    }

    /// The key of a user.
    pub fn user(&self, id: &str) -> String {
        [&self.user, id].concat()
    }

    /// The id of the item whose key this is.
    pub fn item_id<'k>(&self, key: &'k [u8]) -> Option<&'k str> {
        std::str::from_utf8(key.strip_prefix(self.item.as_bytes())?).ok()
    }

    /// The id of the user whose key this is.
    pub fn user_id<'k>(&self, key: &'k [u8]) -> Option<&'k str> {
        std::str::from_utf8(key.strip_prefix(self.user.as_bytes())?).ok()
    }

    /// The name under which the items of the serving generation are searched.
    pub fn alias(&self) -> String {
        format!("{}idx:items", self.prefix)
    }

    /// The index of one generation.
    pub fn index(&self, generation: &str) -> String {
        format!("{}idx:items:{generation}", self.prefix)
    }

    /// The generation whose index this is.
    pub fn generation_of_index<'n>(&self, index: &'n str) -> Option<&'n str> {
        index.strip_prefix(&self.prefix)?.strip_prefix("idx:items:")
    }

    /// What the project as a whole is at.
    pub fn meta(&self) -> String {
        format!("{}meta", self.prefix)
    }

    /// The rankings that no user's vector is needed for.
    pub fn rankings(&self) -> String {
        format!("{}rankings", self.prefix)
    }
}

/// The field with an item's vector of one generation.
pub fn embedding_field(generation: &str) -> String {
    format!("{EMBEDDING}_{generation}")
}

/// How vectors stand in Redis: their length and the type of their components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VectorFormat {
    /// The length of a factor; in Redis a vector has one component more.
    pub dimension: usize,
    /// Of each component.
    pub kind: RedisVectorType,
}

impl VectorFormat {
    /// The length of a vector in Redis.
    pub fn stored_dimension(self) -> usize {
        self.dimension + 1
    }

    /// The bytes of a vector in Redis.
    pub fn bytes(self) -> usize {
        self.stored_dimension()
            * match self.kind {
                RedisVectorType::Float32 => 4,
                RedisVectorType::Float16 => 2,
            }
    }

    /// An item's factor x as it is indexed: x, then √(M² − |x|²), M being the largest norm of the generation. All vectors then have norm M, so
    /// that the cosine with a query [q, 0] orders as the inner product x·q does (Bachrach et al. 2014, "Speeding up the Xbox recommender
    /// system using a Euclidean transformation for inner-product spaces", section 3). A factor longer than M, which only a vector made after
    /// the generation can be, is given a 0.
    pub fn item(self, factor: &[f32], max_norm: f32) -> Vec<u8> {
        let square: f64 = factor.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let rest = (f64::from(max_norm) * f64::from(max_norm) - square).max(0.0).sqrt();
        self.encode(factor, rest as f32)
    }

    /// A user's vector as a query: the vector, then 0.
    pub fn query(self, vector: &[f32]) -> Vec<u8> {
        self.encode(vector, 0.0)
    }

    fn encode(self, vector: &[f32], last: f32) -> Vec<u8> {
        let all = vector.iter().copied().chain([last]);
        match self.kind {
            RedisVectorType::Float32 => all.flat_map(f32::to_le_bytes).collect(),
            RedisVectorType::Float16 => all.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect(),
        }
    }

    /// The vector in a field, without its last component; none if the field has another length.
    pub fn decode(self, bytes: &[u8]) -> Option<Vec<f32>> {
        if bytes.len() != self.bytes() {
            return None;
        }
        let mut vector: Vec<f32> = match self.kind {
            RedisVectorType::Float32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            RedisVectorType::Float16 => {
                bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
            }
        };
        vector.pop();
        Some(vector)
    }

    /// The inner product x·q from the cosine distance that a search with `query` gives, |x| being at most `max_norm`.
    pub fn inner_product(distance: f32, query: &[f32], max_norm: f32) -> f32 {
        let norm = query.iter().map(|x| x * x).sum::<f32>().sqrt();
        (1.0 - distance) * norm * max_norm
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_out_of_keys() {
        let layout = Layout::new("shop:");
        for id in ["1", "käse", "🎬 a:b", "item:1"] {
            assert_eq!(layout.item_id(layout.item(id).as_bytes()), Some(id));
            assert_eq!(layout.user_id(layout.user(id).as_bytes()), Some(id));
        }
        assert_eq!(layout.item_id(b"shop:user:1"), None);
        assert_eq!(layout.generation_of_index(&layout.index("7")), Some("7"));
        assert_eq!(layout.generation_of_index(&layout.alias()), None);
    }

    #[test]
    fn cosine_of_stored_vectors_orders_as_the_inner_product() {
        let format = VectorFormat { dimension: 2, kind: RedisVectorType::Float32 };
        let floats = |bytes: Vec<u8>| -> Vec<f32> {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        };
        let (short, long, query) = ([0.6_f32, 0.8], [4.0_f32, 3.0], [1.0_f32, 1.0]);
        let cosine = |x: &[f32]| {
            let (x, q) = (floats(format.item(x, 5.0)), floats(format.query(&query)));
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            dot(&x, &q) / (dot(&x, &x) * dot(&q, &q)).sqrt()
        };
        // By direction alone `short` would win: 1.4/√2 against 7/(5√2).
        assert!(cosine(&long) > cosine(&short));
        assert!((VectorFormat::inner_product(1.0 - cosine(&long), &query, 5.0) - 7.0).abs() < 1e-5);
        assert!((VectorFormat::inner_product(1.0 - cosine(&short), &query, 5.0) - 1.4).abs() < 1e-5);
    }

    #[test]
    fn vectors_come_back_and_other_lengths_do_not() {
        for kind in [RedisVectorType::Float32, RedisVectorType::Float16] {
            let format = VectorFormat { dimension: 3, kind };
            let vector = [0.5, -1.25, 2.0];
            assert_eq!(format.decode(&format.item(&vector, 4.0)).as_deref(), Some(&vector[..]));
            assert_eq!(format.item(&vector, 4.0).len(), format.bytes());
            assert_eq!(format.decode(b"1234"), None);
        }
    }
}
