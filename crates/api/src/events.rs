//! Events as clients send them.

use serde::{Deserialize, Serialize};
use tastemaker_types::{Attributes, Event, Timestamp};
use utoipa::ToSchema;

use crate::BatchRequest;
use crate::entities::AttributeValues;
use crate::objects::objects;

/// Events to record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsRequest {
    /// The events, in the order in which they happened.
    #[serde(deserialize_with = "objects")]
    pub events: Vec<EventInput>,
}

impl BatchRequest for EventsRequest {
    type Record = EventInput;
    const FIELD: &'static str = "events";
    const SINGLE: bool = false;

    fn into_records(self) -> Vec<EventInput> {
        self.events
    }
}

/// One fact at one time: a user did something with an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EventInput {
    /// Unique for ever; an event with a known id is not recorded again, so a request can be repeated safely. Left out,
    /// the server makes one up, and a repeated request is recorded again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "0192f3c4-9d1e-7c3a-b0a4-5f0e3c9a7d21")]
    pub event_id: Option<String>,
    /// One of the project's event types.
    #[serde(rename = "type")]
    #[schema(example = "click")]
    pub event_type: String,
    /// Who.
    #[schema(example = "user-1")]
    pub user_id: String,
    /// With what.
    #[schema(example = "item-1")]
    pub item_id: String,
    /// When: RFC 3339, or a number since 1970. Left out, it is the present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub timestamp: Option<Timestamp>,
    /// A rating, a price paid, seconds watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The visit it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The `request_id` of the recommendation that showed the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Attributes::is_empty")]
    #[schema(value_type = Option<AttributeValues>)]
    pub properties: Attributes,
}

impl EventInput {
    /// As the log holds it: `now` stands in for a missing time, `new_id` for a missing id.
    pub fn into_event(self, now: Timestamp, new_id: impl FnOnce() -> String) -> Event {
        let timestamp = self.timestamp.unwrap_or(now);
        Event {
            event_id: self.event_id.unwrap_or_else(new_id),
            event_type: self.event_type,
            user_id: self.user_id,
            item_id: self.item_id,
            timestamp,
            received: (timestamp > now).then_some(now),
            value: self.value,
            session_id: self.session_id,
            request_id: self.request_id,
            properties: self.properties,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in() {
        let input: EventInput = serde_json::from_str(r#"{"type":"click","user_id":"u","item_id":"i"}"#).unwrap();
        let now = Timestamp::from_micros(5);
        let event = input.into_event(now, || "made".to_owned());
        assert_eq!((event.event_id.as_str(), event.timestamp), ("made", now));
        assert_eq!(event.received, None);
        let ahead: EventInput =
            serde_json::from_str(r#"{"type":"click","user_id":"u","item_id":"i","timestamp":6000000}"#).unwrap();
        assert_eq!(ahead.into_event(now, String::new).received, Some(now), "the sender's clock is ahead");
    }
}
