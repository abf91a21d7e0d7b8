//! The fleet registry: which turbine stands in which farm and is served by which gateway, and which channel catalogues
//! are known.
//!
//! Invariant: a turbine is bound to exactly one gateway, so that a gateway can write only its own turbines.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::{Table, Value};
use windlass_shared::catalogue::{self, Catalogue, CatalogueHash};
use windlass_shared::id::{FarmId, GatewayId, TurbineId};
use windlass_shared::settings::{self, Problem, Problems, Shape, Spec};

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

/// Everything that is wrong with a registry and its profiles, at once.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct FleetErrors(pub Vec<Problems>);

/// The registry.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Fleet {
    farms: BTreeMap<FarmId, Farm>,
    gateways: BTreeMap<GatewayId, FarmId>,
    turbines: BTreeMap<TurbineId, Binding>,
    catalogues: BTreeMap<CatalogueHash, Arc<Catalogue>>,
}

fn spec() -> Spec {
    let name = || Shape::Parsed {
        expected: "a name of A-Z a-z 0-9 _ -, at most 32, a letter or digit first",
        accepts: |s| TurbineId::new(s).is_ok(),
    };
    let farm = Spec::new()
        .required("id", name())
        .required("name", Shape::Text)
        .required("timezone", Shape::Text);
    let gateway = Spec::new()
        .required("id", name())
        .required("farm", name())
        .required("turbines", Shape::List(1, Box::new(name())));
    let tables = |s| Shape::List(1, Box::new(Shape::Table(s)));
    Spec::new()
        .required("profiles", Shape::List(1, Box::new(Shape::Text)))
        .required("farm", tables(farm))
        .required("gateway", tables(gateway))
}

fn array<'a>(t: &'a Table, key: &str) -> &'a [Value] {
    t.get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn text<'a>(t: &'a Table, key: &str) -> &'a str {
    t.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl Fleet {
    /// The profile files that `fleet.toml` names, as written there: read them first, then call [`Fleet::parse`].
    pub fn profile_paths(path: &str, text: &str) -> Result<Vec<String>, FleetErrors> {
        let table = settings::parse(path, text).map_err(|e| FleetErrors(vec![e]))?;
        let paths = array(&table, "profiles").iter().filter_map(Value::as_str);
        Ok(paths.map(str::to_owned).collect())
    }

    /// Parses `fleet.toml` (`path` is for the messages) with its profiles as (path, text), and reports all mistakes at once.
    pub fn parse(
        path: &str,
        text: &str,
        profiles: &[(String, String)],
    ) -> Result<Self, FleetErrors> {
        let mut errors = Vec::new();
        let mut fleet = Self::default();
        for (file, text) in profiles {
            match catalogue::parse(file, text) {
                Ok(catalogue) => {
                    let catalogue = Arc::new(catalogue);
                    fleet.catalogues.insert(catalogue.hash, catalogue);
                }
                Err(e) => errors.push(e),
            }
        }
        match settings::parse(path, text) {
            Err(e) => errors.push(e),
            Ok(table) => {
                let mut problems = settings::check(&spec(), &table);
                fleet.read(&table, &mut problems);
                if !problems.is_empty() {
                    errors.push(Problems {
                        file: path.to_owned(),
                        problems,
                    });
                }
            }
        }
        if errors.is_empty() {
            Ok(fleet)
        } else {
            Err(FleetErrors(errors))
        }
    }

    /// Takes in what is well-formed, and says what contradicts what.
    fn read(&mut self, table: &Table, problems: &mut Vec<Problem>) {
        let again =
            |path: String, id: &str| Problem::new(path, format!("\"{id}\" again"), "each id once");
        for (i, farm) in array(table, "farm").iter().enumerate() {
            let Some(farm) = farm.as_table() else {
                continue;
            };
            let Ok(id) = FarmId::new(text(farm, "id")) else {
                continue;
            };
            let new = Farm {
                id: id.clone(),
                name: text(farm, "name").to_owned(),
                timezone: text(farm, "timezone").to_owned(),
            };
            if self.farms.insert(id.clone(), new).is_some() {
                problems.push(again(format!("farm[{i}].id"), id.as_str()));
            }
        }
        for (i, gateway) in array(table, "gateway").iter().enumerate() {
            let Some(gateway) = gateway.as_table() else {
                continue;
            };
            let (Ok(id), Ok(farm)) = (
                GatewayId::new(text(gateway, "id")),
                FarmId::new(text(gateway, "farm")),
            ) else {
                continue;
            };
            if !self.farms.contains_key(&farm) {
                problems.push(Problem::new(
                    format!("gateway[{i}].farm"),
                    format!("\"{farm}\""),
                    "the id of a [[farm]]",
                ));
            }
            if self.gateways.insert(id.clone(), farm.clone()).is_some() {
                problems.push(again(format!("gateway[{i}].id"), id.as_str()));
            }
            self.bind(i, &id, &farm, gateway, problems);
        }
    }

    fn bind(
        &mut self,
        i: usize,
        gateway: &GatewayId,
        farm: &FarmId,
        table: &Table,
        problems: &mut Vec<Problem>,
    ) {
        for (j, turbine) in array(table, "turbines").iter().enumerate() {
            let Some(Ok(id)) = turbine.as_str().map(TurbineId::new) else {
                continue;
            };
            let binding = Binding {
                gateway: gateway.clone(),
                farm: farm.clone(),
            };
            if let Some(other) = self.turbines.insert(id.clone(), binding) {
                problems.push(Problem::new(
                    format!("gateway[{i}].turbines[{j}]"),
                    format!("\"{id}\", which gateway {} has", other.gateway),
                    "each turbine at one gateway",
                ));
            }
        }
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
