//! Frames of a server-sent event stream (WHATWG HTML, §9.2).

use crate::cloud_event::CloudEvent;

/// An event. Compact JSON, positions and types contain no line breaks.
pub(crate) fn event(event: &CloudEvent) -> Result<String, serde_json::Error> {
    let data = serde_json::to_string(event)?;
    Ok(format!("id: {}\nevent: {}\ndata: {data}\n\n", event.position, event.event_type))
}

/// A comment with the head of the log.
pub(crate) fn head(head: u64) -> String {
    format!(": head {head}\n\n")
}

/// A position without data. Clients dispatch nothing, but resume from it after a reconnect, so that events
/// which the filter rejected are not searched again.
pub(crate) fn progress(position: u64) -> String {
    format!("id: {position}\n\n")
}

/// The last comment to a client that is too slow: the position from which to resume.
pub(crate) fn too_slow(position: u64) -> String {
    format!(": too slow, resume after {position}\n\n")
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};
    use store::{Envelope, FIRST_EPOCH, LogIdentity, PersonalData, Position, StoredEvent, StreamId};
    use uuid::Uuid;

    use super::*;
    use crate::cloud_event::Disclosure;

    #[test]
    fn an_event_is_three_lines_and_a_blank_one() {
        let envelope = Envelope {
            position: Position::new(42),
            id: Uuid::nil(),
            stream: StreamId::new("system").unwrap(),
            version: 7,
            event_type: "AdministratorAdded".to_owned(),
            schema: 1,
            at: "2026-11-22T08:03:14.68Z".parse().unwrap(),
            actor: "system".to_owned(),
            request_id: "r".to_owned(),
            data: Map::from_iter([("user".to_owned(), json!("a\nb"))]),
            sealed: None,
            leaf: [0; 32],
        };
        let recorded = StoredEvent { envelope, personal: PersonalData::Known(Map::new()) };
        let log = LogIdentity { id: Uuid::nil(), epoch: FIRST_EPOCH };
        let out = event(&CloudEvent::new(&recorded, log, Disclosure::Redacted)).unwrap();
        let lines: Vec<_> = out.split('\n').collect();
        assert_eq!(lines[..2], ["id: 42", "event: AdministratorAdded"]);
        assert!(
            lines[2].starts_with("data: {\"specversion\":\"1.0\"") && lines[2].contains(r"a\nb"),
            "{out}"
        );
        assert_eq!(lines[3..], ["", ""]);
    }

    #[test]
    fn head_is_a_comment_and_progress_a_bare_id() {
        assert_eq!(head(9), ": head 9\n\n");
        assert_eq!(progress(7), "id: 7\n\n");
    }
}
