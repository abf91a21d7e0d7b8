//! What a request about a turbine's past asks for, in the words of the registry and the catalogue.
//!
//! Invariant: what is not there is named before anything is read.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::HeaderMap;
use windlass_shared::catalogue::{Catalogue, Channel};
use windlass_shared::id::{ChannelId, TurbineId};

use super::Api;
use super::ask::{EXACT_RANGE_MAX_US, RANGE_MAX_US, Range, wants_csv};
use super::board::Card;
use super::problem::Problem;

/// Channels of one request.
const CHANNELS_MAX: usize = 32;

/// A request about some channels in a range, as it came.
pub(super) struct Request<'a> {
    /// Of the turbine.
    pub id: &'a str,
    /// Names, separated by commas.
    pub channels: Option<&'a str>,
    /// Start of the range.
    pub from: Option<&'a str>,
    /// End of the range.
    pub to: Option<&'a str>,
    /// Form of the answer.
    pub format: Option<&'a str>,
    /// What says the form else.
    pub headers: &'a HeaderMap,
    /// Is every reading wanted?
    pub exact: bool,
}

/// The same, checked.
pub(super) struct Asked {
    /// The turbine on the board.
    pub card: Arc<Card>,
    /// Its id.
    pub turbine: TurbineId,
    /// In the order of the request, each once.
    pub channels: Vec<Channel>,
    /// No longer than the form of the answer allows.
    pub range: Range,
    /// A table, not JSON.
    pub csv: bool,
}

impl Asked {
    /// Of its channels.
    pub fn ids(&self) -> BTreeSet<ChannelId> {
        self.channels.iter().map(|c| c.id).collect()
    }
}

impl Api {
    /// The turbine and what is known of it, or a problem that names it.
    pub(super) fn turbine(&self, id: &str) -> Result<(Arc<Card>, TurbineId), Problem> {
        let card = self.card(id)?;
        let turbine = TurbineId::new(id).map_err(|_| Problem::not_found("turbine", id))?;
        Ok((card, turbine))
    }

    /// Checks a turbine that a list is filtered by.
    pub(super) fn filter_turbine(&self, id: Option<&str>) -> Result<(), Problem> {
        let Some(id) = id else { return Ok(()) };
        self.card(id).map(drop).map_err(|e| match e.status {
            404 => Problem::unknown("turbine", id, "an id of /api/v1/turbines"),
            _ => e,
        })
    }

    /// Checks a farm that a list is filtered by.
    pub(super) fn filter_farm(&self, id: Option<&str>) -> Result<(), Problem> {
        let Some(id) = id else { return Ok(()) };
        let known = self.fleet.farms().any(|f| f.id.as_str() == id);
        let unknown = || Problem::unknown("farm", id, "an id of /api/v1/farms");
        known.then_some(()).ok_or_else(unknown)
    }

    /// Checks a request about some channels in a range.
    pub(super) fn asked(&self, request: &Request) -> Result<Asked, Problem> {
        let (card, turbine) = self.turbine(request.id)?;
        let channels = self.channels(&card, request.channels)?;
        let csv = wants_csv(request.format, request.headers)?;
        let max = if request.exact || csv {
            EXACT_RANGE_MAX_US
        } else {
            RANGE_MAX_US
        };
        Ok(Asked {
            range: Range::parse(request.from, request.to, max)?,
            card,
            turbine,
            channels,
            csv,
        })
    }

    /// The channels that a request names, in its order.
    fn channels(&self, card: &Card, names: Option<&str>) -> Result<Vec<Channel>, Problem> {
        let expected = || format!("1 to {CHANNELS_MAX} channel names, separated by commas");
        let names = names.ok_or_else(|| Problem::field("channels", "nothing", expected()))?;
        if names.split(',').any(str::is_empty) {
            return Err(Problem::cannot("channels", names, expected()));
        }
        let catalogue = self.catalogue(card);
        let mut out: Vec<Channel> = Vec::new();
        for name in names.split(',') {
            let known = catalogue.and_then(|c: &Arc<Catalogue>| c.by_name(name));
            let channel = known.ok_or_else(|| {
                let expected = "a channel of the turbine, see its `channels`";
                Problem::unknown("channels", name, expected)
            })?;
            if out.iter().all(|c| c.id != channel.id) {
                out.push(channel.clone());
            }
            if out.len() > CHANNELS_MAX {
                return Err(Problem::cannot("channels", "more", expected()));
            }
        }
        Ok(out)
    }
}
