//! The bytes of a segment file: its header, and the header before each frame. Pure functions over byte slices; files are
//! not touched here. `docs/event-log.md` describes the same layout for people.
//!
//! ```text
//! segment  = header(32) frame*
//! header   = "TASTELOG" version:u32 crc32c:u32 first_position:u64 salt:u64          little-endian
//! frame    = "tmFRAME\x01" first_position:u64 payload_bytes:u32 records:u32 payload_crc32c:u32 header_crc32c:u32 payload
//! payload  = (length:varint record:protobuf)*
//! ```
//! A frame's header checksum starts from the segment's random salt, so that bytes that a user sends never pass for a frame.

use tastemaker_types::Position;

/// The format that is written, and the newest that is read.
pub(crate) const VERSION: u32 = 1;
/// Size of a segment's header.
pub(crate) const SEGMENT_HEADER: usize = 32;
/// Size of a frame's header.
pub(crate) const FRAME_HEADER: usize = 32;
/// No frame's payload is larger; a header that says otherwise is damaged.
pub(crate) const MAX_PAYLOAD: usize = 64 << 20;

const SEGMENT_MAGIC: &[u8; 8] = b"TASTELOG";
const FRAME_MAGIC: &[u8; 8] = b"tmFRAME\x01";

/// What the first bytes of a segment file say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) version: u32,
    pub(crate) first: Position,
    pub(crate) salt: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0; SEGMENT_HEADER];
        out[..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&self.version.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        out[24..32].copy_from_slice(&self.salt.to_le_bytes());
        let checksum = segment_checksum(&out);
        out[12..16].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// `None` if the bytes are not a whole header.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SEGMENT_HEADER] = bytes.first_chunk()?;
        if bytes[..8] != SEGMENT_MAGIC[..] || u32_at(bytes, 12) != segment_checksum(bytes) {
            return None;
        }
        Some(Self { version: u32_at(bytes, 8), first: Position(u64_at(bytes, 16)), salt: u64_at(bytes, 24) })
    }
}

fn segment_checksum(header: &[u8; SEGMENT_HEADER]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..])
}

/// What the bytes before a payload say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) first: Position,
    pub(crate) records: u32,
    pub(crate) payload_bytes: u32,
    payload_checksum: u32,
}

impl FrameHeader {
    pub(crate) fn new(first: Position, records: u32, payload: &[u8]) -> Self {
        Self { first, records, payload_bytes: payload.len() as u32, payload_checksum: crc32c::crc32c(payload) }
    }

    pub(crate) fn encode(&self, salt: u64) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        out[..8].copy_from_slice(FRAME_MAGIC);
        out[8..16].copy_from_slice(&self.first.0.to_le_bytes());
        out[16..20].copy_from_slice(&self.payload_bytes.to_le_bytes());
        out[20..24].copy_from_slice(&self.records.to_le_bytes());
        out[24..28].copy_from_slice(&self.payload_checksum.to_le_bytes());
        let checksum = frame_checksum(&out, salt);
        out[28..32].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// `None` if the bytes are not a whole header of this segment.
    pub(crate) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let bytes: &[u8; FRAME_HEADER] = bytes.first_chunk()?;
        if bytes[..8] != FRAME_MAGIC[..] || u32_at(bytes, 28) != frame_checksum(bytes, salt) {
            return None;
        }
        let header = Self {
            first: Position(u64_at(bytes, 8)),
            payload_bytes: u32_at(bytes, 16),
            records: u32_at(bytes, 20),
            payload_checksum: u32_at(bytes, 24),
        };
        (header.payload_bytes as usize <= MAX_PAYLOAD && header.records > 0).then_some(header)
    }

    pub(crate) fn matches(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes as usize && crc32c::crc32c(payload) == self.payload_checksum
    }

    /// The position after the frame's last record.
    pub(crate) fn end(&self) -> Position {
        Position(self.first.0.saturating_add(u64::from(self.records)))
    }
}

/// The first place in `bytes` where a frame might start.
pub(crate) fn find_frame_magic(bytes: &[u8]) -> Option<usize> {
    let (first, rest) = FRAME_MAGIC.split_first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| byte == first) {
        let start = from + at;
        if bytes.get(start + 1..).is_some_and(|tail| tail.starts_with(rest)) {
            return Some(start);
        }
        from = start + 1;
    }
    None
}

fn frame_checksum(header: &[u8; FRAME_HEADER], salt: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &header[..28])
}

fn u32_at<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_round_trip_and_every_flipped_bit_is_seen() {
        let segment = SegmentHeader { version: VERSION, first: Position(7), salt: 0x1234_5678_9abc_def0 };
        let frame = FrameHeader::new(Position(9), 3, b"payload");
        assert_eq!(SegmentHeader::decode(&segment.encode()), Some(segment));
        assert_eq!(FrameHeader::decode(&frame.encode(segment.salt), segment.salt), Some(frame));
        for bit in 0..SEGMENT_HEADER * 8 {
            let mut bytes = segment.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&bytes), None, "bit {bit}");
            let mut bytes = frame.encode(segment.salt);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&bytes, segment.salt), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_segment_is_not_taken() {
        let bytes = FrameHeader::new(Position(0), 1, b"x").encode(1);
        assert!(FrameHeader::decode(&bytes, 1).is_some());
        assert!(FrameHeader::decode(&bytes, 2).is_none());
    }

    #[test]
    fn the_magic_is_found_wherever_it_is() {
        for at in 0..20 {
            let mut bytes = vec![b't'; at];
            bytes.extend_from_slice(FRAME_MAGIC);
            bytes.extend_from_slice(b"tail");
            assert_eq!(find_frame_magic(&bytes), Some(at));
        }
        assert_eq!(find_frame_magic(&FRAME_MAGIC[..7]), None);
        assert_eq!(find_frame_magic(b""), None);
    }
}
