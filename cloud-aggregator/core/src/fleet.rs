//! The fleet registry: which turbine stands in which farm and is served by which gateway, and which channel catalogues
//! are known.
//!
//! Invariant: a turbine is bound to exactly one gateway, so that a gateway can write only its own turbines.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_shared::catalogue::{Catalogue, CatalogueHash};
use windlass_shared::id::{FarmId, GatewayId, TurbineId};

/// A wind farm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Farm {
    /// Its identity.
    pub id: FarmId,
    /// For display.
    pub name: String,
    /// IANA name, for display.
    pub timezone: String,
}

/// Who serves a turbine, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// The gateway whose certificate may write it.
    pub gateway: GatewayId,
    /// Its farm.
    pub farm: FarmId,
}

/// Everything that is wrong with a registry, at once.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct FleetErrors(pub Vec<String>);

/// The registry.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Fleet {
    farms: BTreeMap<FarmId, Farm>,
    gateways: BTreeMap<GatewayId, FarmId>,
    turbines: BTreeMap<TurbineId, Binding>,
    catalogues: BTreeMap<CatalogueHash, Arc<Catalogue>>,
}

impl Fleet {
    /// The profile files that `fleet.toml` names, as written there: read them first, then call [`Fleet::parse`].
    pub fn profile_paths(path: &str, text: &str) -> Result<Vec<String>, FleetErrors> {
        todo!("{path} {text}")
    }

    /// Parses `fleet.toml` (`path` is for the messages) with its profiles as (path, text), and reports all mistakes at once.
    pub fn parse(
        path: &str,
        text: &str,
        profiles: &[(String, String)],
    ) -> Result<Self, FleetErrors> {
        todo!("{path} {text} {profiles:?}")
    }

    /// Who serves this turbine.
    pub fn binding(&self, turbine: &TurbineId) -> Option<&Binding> {
        self.turbines.get(turbine)
    }

    /// A catalogue by its hash.
    pub fn catalogue(&self, hash: CatalogueHash) -> Option<&Arc<Catalogue>> {
        self.catalogues.get(&hash)
    }

    /// All catalogues by hash.
    pub fn catalogues(&self) -> impl Iterator<Item = &Arc<Catalogue>> {
        self.catalogues.values()
    }

    /// All farms by id.
    pub fn farms(&self) -> impl Iterator<Item = &Farm> {
        self.farms.values()
    }

    /// All gateways by id, with their farm.
    pub fn gateways(&self) -> impl Iterator<Item = (&GatewayId, &FarmId)> {
        self.gateways.iter()
    }

    /// All turbines by id.
    pub fn turbines(&self) -> impl Iterator<Item = (&TurbineId, &Binding)> {
        self.turbines.iter()
    }
}
