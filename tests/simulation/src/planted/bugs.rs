//! The planted bugs: each is a mistake that somebody could make, where the code would make it.

/// A bug: a name, and what to change in which file.
pub struct Bug {
    /// For people.
    pub name: &'static str,
    /// (file, text that stands there exactly once, text to put in its place).
    pub changes: &'static [(&'static str, &'static str, &'static str)],
}

/// All of them.
pub const BUGS: &[Bug] = &[
    Bug {
        name: "dedupe forgotten after recovery",
        changes: &[
            (
                "cloud-aggregator/core/src/task/snapshot.rs",
                "let state: State =\n            postcard::from_bytes(payload).map_err(|e| RestoreError::Damaged(e.to_string()))?;",
                "let mut state: State =\n            postcard::from_bytes(payload).map_err(|e| RestoreError::Damaged(e.to_string()))?;\n        \
             for turbine in state.turbines.values_mut() { Arc::make_mut(turbine).forget_coverage(); }",
            ),
            (
                "cloud-aggregator/core/src/task/turbine.rs",
                "impl Turbine {",
                "impl Turbine {\n    pub fn forget_coverage(&mut self) { self.coverage = Coverage::default(); }\n",
            ),
        ],
    },
    Bug {
        name: "acknowledged before the log has it (while the append is under way)",
        changes: &[(
            "cloud-aggregator/core/src/ingest/order.rs",
            "        self.asked = Some(batch);",
            "        self.asked = Some(Batch::new());\n        batch.release(self.level, out);",
        )],
    },
    Bug {
        name: "acknowledged before the log has it (although the append failed)",
        changes: &[(
            "cloud-aggregator/core/src/ingest/order.rs",
            "                self.halted = true;",
            "                self.halted = true;\n                batch.release(self.level, out);",
        )],
    },
    Bug {
        name: "acknowledged before the log has it (the broker's PUBACK is believed)",
        changes: &[
            (
                "edge-agent/core/src/forwarder.rs",
                "    pub fn puback(&mut self, id: PublishId) {\n        self.slots.remove(&id);\n    }",
                "    pub fn puback(&mut self, id: PublishId) -> Option<RecordId> {\n        self.slots.remove(&id);\n        \
                 self.flight.keys().next().cloned()\n    }",
            ),
            (
                "edge-agent/core/src/agent.rs",
                "Input::PubAck(id) => self.forwarder.puback(id),",
                "Input::PubAck(id) => if let Some(id) = self.forwarder.puback(id) {\n                \
                 let ack = windlass_shared::wire::Ack { turbine: id.turbine, epoch: id.epoch, \
                 ranges: vec![windlass_shared::id::SeqRange::one(id.seq)], \
                 level: windlass_shared::wire::AckLevel::Safe, verdicts: vec![] };\n                \
                 self.downlink(now, windlass_shared::wire::Downlink { acks: vec![ack], ..Default::default() }, out);\n            },",
            ),
        ],
    },
    Bug {
        name: "a restored outbox gives its journal a time again",
        changes: &[(
            "edge-agent/core/src/journal.rs",
            "self.is_own(row.epoch) && self.placed.is_some_and(|placed| row.seq <= placed)",
            "self.is_own(row.epoch) && self.placed.is_some_and(|placed| row.seq > placed && row.seq < placed)",
        )],
    },
    Bug {
        name: "the frontier goes back",
        changes: &[(
            "edge-agent/core/src/numberer.rs",
            "frontier: at.frontier.max(bound),",
            "frontier: if at.last_seq.0 % 50 == 49 { EventTime(bound.0 - 90_000_000) } else { bound },",
        )],
    },
    Bug {
        name: "the frontier passes a slice that is still open",
        changes: &[(
            "edge-agent/core/src/slicer.rs",
            "        open.min()\n            .unwrap_or(EventTime::MAX)\n            .min(self.promise())",
            "        open.max()\n            .unwrap_or(EventTime::MAX)\n            .min(self.promise())",
        )],
    },
    Bug {
        name: "a window settles over a hole",
        changes: &[(
            "shared/src/coverage/verdict.rs",
            "while start > 0 && segments[start - 1].last() + 1 == segments[start].first() {",
            "while start > 0 {",
        )],
    },
    Bug {
        name: "a Gap is treated as received",
        changes: &[(
            "shared/src/coverage/segments.rs",
            "        self.locate(seq.0)\n            .is_ok_and(|i| self.0[i].as_received().is_some())",
            "        self.locate(seq.0).is_ok()",
        )],
    },
    Bug {
        name: "what a Gap declares is not held against a window",
        changes: &[(
            "shared/src/coverage/verdict.rs",
            "if before.is_none_or(|r| r.frontier < t1) {",
            "if before.is_none() {",
        )],
    },
    Bug {
        name: "outputs repeated after recovery",
        changes: &[(
            "cloud-aggregator/core/src/recovery.rs",
            "            self.scratch.clear();",
            "            self.outputs.append(&mut self.scratch);",
        )],
    },
    Bug {
        name: "a restored outbox backup continues with an epoch that was used (counted instead of drawn)",
        changes: &[(
            "edge-agent/core/src/agent.rs",
            "        self.usage = recovered.usage.clone();",
            "        let n: usize = recovered.turbines.iter().map(|t| t.epochs.len()).sum();\n        \
             let mut seed = [self.settings.gateway.as_str().len() as u8; 32];\n        \
             seed[0] = self.settings.gateway.as_str().as_bytes()[3];\n        \
             seed[1..9].copy_from_slice(&n.to_le_bytes());\n        \
             self.rng = ChaCha20Rng::from_seed(seed);\n        \
             self.usage = recovered.usage.clone();",
        )],
    },
    Bug {
        name: "false completeness across an epoch change",
        changes: &[(
            "shared/src/coverage/verdict.rs",
            "for (i, link) in self.chain.iter().enumerate() {",
            "for (i, link) in self.chain.iter().enumerate().take(1) {",
        )],
    },
];
