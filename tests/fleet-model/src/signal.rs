//! What the plant says of itself: every physical quantity that a channel can show.

macro_rules! signals {
    ($($name:ident),* $(,)?) => {
        /// A quantity of the plant.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        #[allow(missing_docs)] // the names are the documentation
        #[repr(u16)]
        pub enum Signal { $($name),* }

        impl Signal {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

signals! {
    // operation
    ActivePower, AvailablePower, Setpoint, SetpointSource, ReactivePower, WindPoint, RotorSpeed, GeneratorSpeed,
    IecState, OperatingState, Frequency, AlarmCode, ReactiveSetpoint, ReactiveSource, PowerFactorSetpoint, PowerFactor,
    MetMastPower, CurtailmentLevel, CurtailmentReason, DerateLevel, DerateReason, NoiseMode, ShadowStop, Ice, BatStop,
    GridConnected, Service, Remote, StopChain, Brake,
    // wind and yaw
    WindDirection, VaneDirection, Nacelle, YawError, YawRate, YawActive, CableTwist, YawTurns, YawStarts,
    // counters
    EnergyExport, EnergyImport, ReactiveExport, ReactiveImport, OperatingSeconds, GeneratorSeconds, Lightning,
    FieldbusErrors, FieldbusRetries, NetworkErrors, Restarts,
    // blades
    Pitch1, Pitch2, Pitch3, PitchRate, PitchTorque, PitchCurrent1, PitchCurrent2, PitchCurrent3, EncoderOff1,
    EncoderOff2, EncoderOff3, Flap1, Flap2, Flap3, Edge1, Edge2, Edge3, PitchBattery, Feathered,
    // rotor and main shaft
    RotorPosition, ShaftTorque, AxialDisplacement, GreasePressure,
    // gearbox
    OilTemperature, OilInlet, OilPressure, PumpPressure, FilterDifference, OilLevel, OilFlow, ParticlesFine,
    ParticlesCoarse, OilMoisture, CoolerInlet, CoolerOutlet, PlanetBearing, IntermediateFront, IntermediateRear,
    HighSpeedFront, HighSpeedRear, PlanetLow, PlanetVelocity, PlanetAcceleration, PlanetEnvelope, IntermediateLow,
    IntermediateVelocity, IntermediateAcceleration, IntermediateEnvelope, HighSpeedLow, HighSpeedVelocity,
    HighSpeedAcceleration, HighSpeedEnvelope, Housing,
    // generator
    WindingU, WindingV, WindingW, DriveEnd, NonDriveEnd, GeneratorVelocity, GeneratorAcceleration, GeneratorEnvelope,
    GeneratorTorque, SlipRing, CoolingAir, CoolantIn, CoolantOut, StatorVoltage, StatorCurrent, RotorCurrent,
    BrushWear, ShaftCurrent,
    // converter
    GridSideIgbt, GridSideCurrent, GridSidePower, RotorSideIgbt, RotorSideCurrent, RotorSidePower, DcLink, Choke,
    ConverterCabinet, ConverterCoolant, ConverterPressure, ConverterFlow, Chopper, ConverterState,
    // transformer and grid
    TransformerWinding, TransformerCore, TransformerRoom, TransformerOil, Tap, Voltage, Current, VoltageDistortion,
    CurrentDistortion, ApparentPower,
    // hydraulics and brake
    HydraulicPressure, HydraulicOil, HydraulicLevel, AccumulatorPressure, HydraulicFilter, BrakeDisc, PadWear,
    BrakePressure, YawMotorCurrent, YawMotor, YawBrakePressure,
    // tower and nacelle
    TowerFore, TowerForeRms, TowerSide, TowerSideRms, Vertical, InclinationFore, InclinationSide, BaseFore, BaseSide,
    MainVelocity, MainLow, MainFront, MainRear,
    // weather
    Ambient, NacelleAir, AirPressure, Humidity, Density, Turbulence, Shear, Rain,
    // secondary temperatures
    Hub, PitchMotor, PitchBatteryTemperature, PitchCabinet, PitchBearing, TowerCabinet, NacelleCabinet, HubCabinet,
    UpsBattery, Controller, TowerTop, TowerMiddle, TowerBase,
    // switches
    PumpLow, PumpHigh, OilHeater, OilFan1, OilFan2, GeneratorFan1, GeneratorFan2, GeneratorHeater, CoolantPump,
    ConverterPump, ConverterFan, ConverterHeater, TransformerFan1, TransformerFan2, HydraulicPump, NacelleFan1,
    NacelleFan2, NacelleHeater, GreasePump, YawGrease, PitchGrease, AnemometerHeater, TowerFan, BladeHeating,
    TowerDoor, NacelleHatch, HubHatch, TransformerDoor, MainBreaker, MediumBreaker, OnBattery, Aviation, Lift,
    PitchDrive,
    // supply and control
    CabinetHumidity, Supply, SupplyCurrent, UpsVoltage, UpsLoad, AuxiliaryPower, CpuLoad, MemoryUsed, CycleTime, Jitter,
    // it makes no power; nothing at all
    Standing, Zero,
}

/// One value for each signal.
#[derive(Clone, Debug)]
pub struct Signals([f64; Signal::ALL.len()]);

impl Default for Signals {
    fn default() -> Self {
        Self([0.0; Signal::ALL.len()])
    }
}

impl Signals {
    /// Sets one.
    #[inline]
    pub fn set(&mut self, signal: Signal, value: f64) {
        self.0[signal as usize] = value;
    }
    /// Sets a switch.
    #[inline]
    pub fn switch(&mut self, signal: Signal, on: bool) {
        self.0[signal as usize] = f64::from(u8::from(on));
    }
    /// Its value.
    #[inline]
    pub fn get(&self, signal: Signal) -> f64 {
        self.0[signal as usize]
    }
    /// All of them.
    #[inline]
    pub fn all(&self) -> &[f64; Signal::ALL.len()] {
        &self.0
    }
}
