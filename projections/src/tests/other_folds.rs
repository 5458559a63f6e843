//! Programs of before and after: folds of `users` that are not those of today.

use store::{Column, ColumnKind, Envelope, Recorded, Row, Shape};

use crate::{Poison, Projection, Users};

/// The same fold in a program that knows the event which today's does not.
pub(super) struct Mended;

impl Projection for Mended {
    fn name(&self) -> &'static str {
        Users.name()
    }

    fn shape(&self) -> &'static Shape {
        Users.shape()
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        Users.key(event)
    }

    fn opens(&self, event: &Envelope) -> bool {
        Users.opens(event)
    }

    fn fold(&self, row: Option<Row>, event: &Recorded) -> Result<Option<Row>, Poison> {
        if event.envelope.event_type == "FromTheFuture" { Ok(row) } else { Users.fold(row, event) }
    }
}

/// The fold of the next program: its rows are other ones, and it halts on a role that is granted.
pub(super) struct Next;

static NEXT: Shape = Shape {
    columns: &[
        Column { name: "id", kind: ColumnKind::Text },
        Column { name: "types", kind: ColumnKind::TextList },
    ],
    indexes: &[],
};

impl Projection for Next {
    fn name(&self) -> &'static str {
        Users.name()
    }

    fn version(&self) -> u32 {
        2
    }

    fn shape(&self) -> &'static Shape {
        &NEXT
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        Users.key(event)
    }

    fn fold(&self, row: Option<Row>, event: &Recorded) -> Result<Option<Row>, Poison> {
        let event_type = &event.envelope.event_type;
        if event_type == "RoleGranted" {
            return Err(Poison::new(event, &"this program has a fault"));
        }
        let mut row = row.unwrap_or_default();
        row.insert("id".to_owned(), self.key(&event.envelope).into());
        let mut types = row.get("types").and_then(|types| types.as_array().cloned()).unwrap_or_default();
        types.push(event_type.as_str().into());
        row.insert("types".to_owned(), types.into());
        Ok(Some(row))
    }

    fn predecessor(&self) -> Option<&'static dyn Projection> {
        Some(&Users)
    }
}

/// The fold of the program after that, which has forgotten the first one.
pub(super) struct Later;

impl Projection for Later {
    fn name(&self) -> &'static str {
        Users.name()
    }

    fn version(&self) -> u32 {
        3
    }

    fn shape(&self) -> &'static Shape {
        Users.shape()
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        Users.key(event)
    }

    fn fold(&self, row: Option<Row>, event: &Recorded) -> Result<Option<Row>, Poison> {
        Users.fold(row, event)
    }

    fn predecessor(&self) -> Option<&'static dyn Projection> {
        Some(&Second)
    }
}

/// Its predecessor: [`Next`], which has none any more.
struct Second;

impl Projection for Second {
    fn name(&self) -> &'static str {
        Users.name()
    }

    fn version(&self) -> u32 {
        Next.version()
    }

    fn shape(&self) -> &'static Shape {
        Next.shape()
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        Next.key(event)
    }

    fn fold(&self, row: Option<Row>, event: &Recorded) -> Result<Option<Row>, Poison> {
        Next.fold(row, event)
    }
}
