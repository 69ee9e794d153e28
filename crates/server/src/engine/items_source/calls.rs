//! Records cut into calls that the log takes.

use tastemaker_types::Record;

/// A call of the log may have 32 MiB; smaller ones leave room for others.
const MOST_BYTES: usize = 4 << 20;

/// The records in order, in calls of at most `most` each.
pub(super) fn calls(records: Vec<Record>, most: usize) -> Vec<Vec<Record>> {
    let mut calls: Vec<Vec<Record>> = Vec::new();
    let mut bytes = 0;
    for record in records {
        let size = record.size_bound();
        match calls.last_mut() {
            Some(call) if call.len() < most && bytes + size <= MOST_BYTES => {
                bytes += size;
                call.push(record);
            }
            _ => {
                bytes = size;
                calls.push(vec![record]);
            }
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use tastemaker_types::Timestamp;

    use super::*;

    #[test]
    fn a_call_ends_at_its_number_and_at_its_bytes() {
        let record = |bytes: usize| Record::ItemDelete { id: "x".repeat(bytes), timestamp: Timestamp::EPOCH };
        let lengths = |records, most| calls(records, most).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(lengths(vec![], 3), [0; 0]);
        assert_eq!(lengths(vec![record(1); 7], 3), [3, 3, 1]);
        assert_eq!(lengths(vec![record(1_500_000); 5], 100), [2, 2, 1]);
        assert_eq!(lengths(vec![record(5_000_000); 2], 100), [1, 1]);
    }
}
