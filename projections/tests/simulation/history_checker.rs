//! Checks that requests, answers and the final log are consistent.

use std::collections::HashMap;

use store::{AppendError, Appended, Envelope, Position, StreamId};

use crate::coverage::Coverage;
use crate::history::AppendRecord;
use crate::reference_model::ReferenceModel;

/// Compares the answers to all appends with the log.
pub(crate) struct HistoryChecker<'a> {
    log: &'a [Envelope],
    records: &'a [AppendRecord],
    model: ReferenceModel,
    /// The index of the first event of each record, if it was committed.
    found: Vec<Option<usize>>,
    /// Whether its rejection was correct at some time between request and answer.
    justified: Vec<bool>,
}

impl<'a> HistoryChecker<'a> {
    /// Replays the log append by append; returns the final state.
    pub(crate) fn check(
        log: &'a [Envelope],
        records: &'a [AppendRecord],
        coverage: &Coverage,
    ) -> Result<ReferenceModel, String> {
        let mut checker = Self {
            log,
            records,
            model: ReferenceModel::default(),
            found: vec![None; records.len()],
            justified: vec![false; records.len()],
        };
        checker.replay()?;
        for (number, record) in records.iter().enumerate() {
            checker
                .check_append(number, record, coverage)
                .map_err(|fault| format!("append {number}: {fault}"))?;
        }
        Ok(checker.model)
    }

    fn replay(&mut self) -> Result<(), String> {
        let first_event =
            |(number, record): (usize, &AppendRecord)| (record.append.writes[0].events[0].id, number);
        let firsts: HashMap<_, _> = self.records.iter().enumerate().map(first_event).collect();
        let mut at = 0;
        self.mark_justified_errors(at);
        while let Some(event) = self.log.get(at) {
            let slot = format!("position {}", at + 1);
            let number =
                *firsts.get(&event.id).ok_or(format!("{slot} begins no append that was asked for"))?;
            if self.found[number].replace(at).is_some() {
                return Err(format!("{slot}: append {number} happened twice"));
            }
            let record = &self.records[number];
            if let Some(objection) = self.model.violation(&record.append) {
                return Err(format!("{slot}: append {number} happened, though {objection}"));
            }
            at = self.match_events(at, record).map_err(|fault| format!("append {number}: {fault}"))?;
            self.model.apply(&record.append);
            self.mark_justified_errors(at);
        }
        Ok(())
    }

    /// The events of an append must be consecutive and as requested; returns the index after them.
    fn match_events(&self, mut at: usize, record: &AppendRecord) -> Result<usize, String> {
        for write in &record.append.writes {
            let mut version = self.model.version(&write.stream);
            for asked in &write.events {
                version += 1;
                let event = self.log.get(at).ok_or("the log ends in the middle of it")?;
                at += 1;
                let same = event.id == asked.id
                    && event.position == Position::new(u64::try_from(at).unwrap())
                    && event.stream == write.stream
                    && event.version == version
                    && event.event_type == asked.event_type
                    && event.schema == asked.schema
                    && event.data == asked.data
                    && event.sealed.is_some() != asked.personal.is_empty()
                    && event.actor == record.append.actor
                    && event.request_id == record.append.request_id;
                if !same {
                    return Err(format!("position {at} is not what was asked for: {event:?}, {asked:?}"));
                }
            }
        }
        Ok(at)
    }

    /// Marks the rejections that are correct after that many events.
    fn mark_justified_errors(&mut self, after: usize) {
        let after = Position::new(u64::try_from(after).unwrap());
        for (number, record) in self.records.iter().enumerate() {
            if let Some(Err(refusal)) = &record.answer
                && (record.began..=record.ended).contains(&after)
                && self.model.justifies(&record.append, refusal)
            {
                self.justified[number] = true;
            }
        }
    }

    fn check_append(&self, number: usize, record: &AppendRecord, coverage: &Coverage) -> Result<(), String> {
        let found = self.found[number];
        if found.is_some_and(|at| u64::try_from(at).unwrap() < record.began.get()) {
            return Err("it happened before it was asked for".to_owned());
        }
        match &record.answer {
            Some(Ok(appended)) => {
                coverage.count("acknowledged");
                self.check_acknowledged(found, record, appended)
            }
            None | Some(Err(AppendError::Unknown(_))) => {
                coverage.count(if found.is_some() { "unknown, done" } else { "unknown, not done" });
                Ok(())
            }
            Some(Err(AppendError::DuplicateRequest)) => {
                coverage.count("unknown, done, duplicate reported on retry");
                found
                    .map(|_| ())
                    .ok_or_else(|| "it was said to have been done and is not in the log".to_owned())
            }
            Some(Err(refusal)) => {
                coverage.count(coverage_label(refusal));
                if found.is_some() {
                    return Err(format!("it happened, though it was refused: {refusal}"));
                }
                if !self.justified[number] {
                    return Err(format!("it was refused for what was not so: {refusal}"));
                }
                Ok(())
            }
        }
    }

    fn check_acknowledged(
        &self,
        found: Option<usize>,
        record: &AppendRecord,
        appended: &Appended,
    ) -> Result<(), String> {
        let first = found.ok_or("it was acknowledged and is not in the log")?;
        let events: usize = record.append.writes.iter().map(|write| write.events.len()).sum();
        let mine = &self.log[first..first + events];
        let last = &mine[events - 1];
        let versions: Vec<_> =
            record.append.writes.iter().map(|write| last_version(mine, &write.stream)).collect();
        let answered = (appended.position, appended.at, &appended.versions);
        if answered != (last.position, last.at, &versions) || last.position > record.ended {
            return Err(format!("it was acknowledged as {appended:?}, but the log has {last:?}"));
        }
        Ok(())
    }
}

fn last_version(events: &[Envelope], stream: &StreamId) -> u64 {
    events.iter().rfind(|event| event.stream == *stream).map_or(0, |event| event.version)
}

fn coverage_label(refusal: &AppendError) -> &'static str {
    match refusal {
        AppendError::DuplicateRequest => "repeated",
        AppendError::Conflict { .. } => "refused: conflict",
        AppendError::ClaimTaken { .. } => "refused: claim taken",
        AppendError::Erased { .. } => "refused: erased",
        AppendError::WrappingKeyRotated { .. } => "refused: wrapped before",
        AppendError::TooLarge { .. } => "refused: too large",
        AppendError::Invalid(_) => "refused: invalid",
        AppendError::Busy => "refused: busy",
        AppendError::ClockJumped(_) => "refused: clock jumped",
        AppendError::Unknown(_) => "unknown",
        AppendError::Store(_) => "refused: database",
    }
}
