//! The end of a run: what was asked, what was answered, and what the database holds must be one story.

use std::collections::HashMap;

use store::{AppendError, Appended, Envelope, Position, StreamId};

use crate::history::Intent;
use crate::ledger::Ledger;
use crate::tally::Tally;

/// The answers to all appends against the log.
pub(crate) struct Verdict<'a> {
    log: &'a [Envelope],
    intents: &'a [Intent],
    ledger: Ledger,
    /// Where the first event of each intent is, if it happened.
    found: Vec<Option<usize>>,
    /// Whether its refusal was true at some time between question and answer.
    borne_out: Vec<bool>,
}

impl<'a> Verdict<'a> {
    /// Replays the log append by append; gives the state it leads to.
    pub(crate) fn on(log: &'a [Envelope], intents: &'a [Intent], tally: &Tally) -> Result<Ledger, String> {
        let mut verdict = Self {
            log,
            intents,
            ledger: Ledger::default(),
            found: vec![None; intents.len()],
            borne_out: vec![false; intents.len()],
        };
        verdict.replay()?;
        for (number, intent) in intents.iter().enumerate() {
            verdict.judge(number, intent, tally).map_err(|fault| format!("append {number}: {fault}"))?;
        }
        Ok(verdict.ledger)
    }

    fn replay(&mut self) -> Result<(), String> {
        let first_event = |(number, intent): (usize, &Intent)| (intent.append.writes[0].events[0].id, number);
        let firsts: HashMap<_, _> = self.intents.iter().enumerate().map(first_event).collect();
        let mut at = 0;
        self.bear_out(at);
        while let Some(event) = self.log.get(at) {
            let place = format!("position {}", at + 1);
            let number =
                *firsts.get(&event.id).ok_or(format!("{place} begins no append that was asked for"))?;
            if self.found[number].replace(at).is_some() {
                return Err(format!("{place}: append {number} happened twice"));
            }
            let intent = &self.intents[number];
            if let Some(objection) = self.ledger.objection(&intent.append) {
                return Err(format!("{place}: append {number} happened, though {objection}"));
            }
            at = self.match_events(at, intent).map_err(|fault| format!("append {number}: {fault}"))?;
            self.ledger.admit(&intent.append);
            self.bear_out(at);
        }
        Ok(())
    }

    /// The events of an append must stand one after the other, as they were asked for; gives where the next one is.
    fn match_events(&self, mut at: usize, intent: &Intent) -> Result<usize, String> {
        for write in &intent.append.writes {
            let mut version = self.ledger.version(&write.stream);
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
                    && event.actor == intent.append.actor
                    && event.request_id == intent.append.request_id;
                if !same {
                    return Err(format!("position {at} is not what was asked for: {event:?}, {asked:?}"));
                }
            }
        }
        Ok(at)
    }

    /// Notes which refusals are true after so many events.
    fn bear_out(&mut self, after: usize) {
        let after = Position::new(u64::try_from(after).unwrap());
        for (number, intent) in self.intents.iter().enumerate() {
            if let Some(Err(refusal)) = &intent.answer
                && (intent.began..=intent.ended).contains(&after)
                && self.ledger.bears_out(&intent.append, refusal)
            {
                self.borne_out[number] = true;
            }
        }
    }

    fn judge(&self, number: usize, intent: &Intent, tally: &Tally) -> Result<(), String> {
        let found = self.found[number];
        if found.is_some_and(|at| u64::try_from(at).unwrap() < intent.began.get()) {
            return Err("it happened before it was asked for".to_owned());
        }
        match &intent.answer {
            Some(Ok(appended)) => {
                tally.count("acknowledged");
                self.judge_acknowledged(found, intent, appended)
            }
            None | Some(Err(AppendError::Unknown(_))) => {
                tally.count(if found.is_some() { "unknown, done" } else { "unknown, not done" });
                Ok(())
            }
            Some(Err(AppendError::Repeated)) => {
                tally.count("unknown, done, and told when sent again");
                found
                    .map(|_| ())
                    .ok_or_else(|| "it was said to have been done and is not in the log".to_owned())
            }
            Some(Err(refusal)) => {
                tally.count(kind_of(refusal));
                if found.is_some() {
                    return Err(format!("it happened, though it was refused: {refusal}"));
                }
                if !self.borne_out[number] {
                    return Err(format!("it was refused for what was not so: {refusal}"));
                }
                Ok(())
            }
        }
    }

    fn judge_acknowledged(
        &self,
        found: Option<usize>,
        intent: &Intent,
        appended: &Appended,
    ) -> Result<(), String> {
        let first = found.ok_or("it was acknowledged and is not in the log")?;
        let events: usize = intent.append.writes.iter().map(|write| write.events.len()).sum();
        let mine = &self.log[first..first + events];
        let last = &mine[events - 1];
        let versions: Vec<_> =
            intent.append.writes.iter().map(|write| last_version(mine, &write.stream)).collect();
        let told = (appended.position, appended.at, &appended.versions);
        if told != (last.position, last.at, &versions) || last.position > intent.ended {
            return Err(format!("it was acknowledged as {appended:?}, but the log has {last:?}"));
        }
        Ok(())
    }
}

fn last_version(events: &[Envelope], stream: &StreamId) -> u64 {
    events.iter().rfind(|event| event.stream == *stream).map_or(0, |event| event.version)
}

fn kind_of(refusal: &AppendError) -> &'static str {
    match refusal {
        AppendError::Repeated => "repeated",
        AppendError::Conflict { .. } => "refused: conflict",
        AppendError::ClaimTaken { .. } => "refused: claim taken",
        AppendError::Erased { .. } => "refused: erased",
        AppendError::WrappedBefore { .. } => "refused: wrapped before",
        AppendError::TooLarge { .. } => "refused: too large",
        AppendError::Invalid(_) => "refused: invalid",
        AppendError::Busy => "refused: busy",
        AppendError::Unknown(_) => "unknown",
        AppendError::Store(_) => "refused: database",
    }
}
