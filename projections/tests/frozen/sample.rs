//! One sample, as a file.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Map, Value};
use store::canonical::rfc3339;
use store::{Envelope, MasterKey, Position, StreamId};

/// An event as it was stored, and the keys to open it with.
pub(crate) struct Sample {
    pub(crate) master: MasterKey,
    /// The key of its stream, wrapped; none if nothing in it is sealed.
    pub(crate) stream_key: Option<Vec<u8>>,
    pub(crate) envelope: Envelope,
}

/// The names of all samples that are there.
pub(crate) fn names() -> BTreeSet<String> {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    files.map(|name| name.strip_suffix(".json").unwrap_or(&name).to_owned()).collect()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/samples")
}

fn path(name: &str) -> PathBuf {
    folder().join(format!("{name}.json"))
}

impl Sample {
    pub(crate) fn read(name: &str) -> Self {
        let text = fs::read_to_string(path(name)).unwrap_or_else(|error| {
            panic!("{name}: {error}; `cargo test -p projections --test frozen -- --ignored` writes it")
        });
        let file: Value = serde_json::from_str(&text).unwrap();
        let (event, text) = (&file["event"], |field: &Value| field.as_str().unwrap().to_owned());
        Self {
            master: MasterKey::from_base64(&text(&file["master_key"])).unwrap(),
            stream_key: file.get("stream_key").map(|key| bytes(&text(key))),
            envelope: Envelope {
                position: Position::new(event["position"].as_u64().unwrap()),
                id: text(&event["id"]).parse().unwrap(),
                stream: StreamId::new(text(&event["stream"])).unwrap(),
                version: event["version"].as_u64().unwrap(),
                event_type: text(&event["type"]),
                schema: event["schema"].as_u64().unwrap().try_into().unwrap(),
                at: text(&event["at"]).parse().unwrap(),
                actor: text(&event["actor"]),
                request_id: text(&event["request_id"]),
                data: event["data"].as_object().unwrap().clone(),
                sealed: event.get("sealed").map(|sealed| bytes(&text(sealed))),
                leaf: bytes(&text(&event["leaf"])).try_into().unwrap(),
            },
        }
    }

    /// Writes a file that is not there yet.
    pub(crate) fn write(&self, name: &str) {
        let Envelope {
            position,
            id,
            stream,
            version,
            event_type,
            schema,
            at,
            actor,
            request_id,
            data,
            sealed,
            leaf,
        } = &self.envelope;
        let mut event = Map::from_iter([
            ("position".to_owned(), position.get().into()),
            ("id".to_owned(), id.hyphenated().to_string().into()),
            ("stream".to_owned(), stream.as_str().into()),
            ("version".to_owned(), (*version).into()),
            ("type".to_owned(), event_type.as_str().into()),
            ("schema".to_owned(), (*schema).into()),
            ("at".to_owned(), rfc3339(*at).into()),
            ("actor".to_owned(), actor.as_str().into()),
            ("request_id".to_owned(), request_id.as_str().into()),
            ("data".to_owned(), data.clone().into()),
            ("leaf".to_owned(), hex(leaf).into()),
        ]);
        event.extend(sealed.as_ref().map(|sealed| ("sealed".to_owned(), hex(sealed).into())));
        let mut file = Map::from_iter([
            ("master_key".to_owned(), self.master.to_base64().into()),
            ("event".to_owned(), event.into()),
        ]);
        file.extend(self.stream_key.as_ref().map(|key| ("stream_key".to_owned(), hex(key).into())));
        let text = format!("{}\n", serde_json::to_string_pretty(&file).unwrap());
        // What is frozen stays: an existing file is an error, whatever it holds.
        File::create_new(path(name)).unwrap().write_all(text.as_bytes()).unwrap();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().map(|digit| digit.to_digit(16).unwrap()).collect();
    assert!(digits.len().is_multiple_of(2), "half a byte is missing");
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}
