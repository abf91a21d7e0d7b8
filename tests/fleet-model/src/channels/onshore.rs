//! Which signal each channel of the profiles shows, and through which sensor. First those of `onshore-3mw`, in its order.

use super::Row;
use super::sensor;
use crate::signal::Signal as S;
use crate::statistic::Statistic;

/// Of a phase against the star point: 1 / sqrt(3).
const ROOT_THIRD: f64 = 0.577_350_269_189_625_8;

/// `name: signal, sensor;` and a factor where the channel has another unit or place.
macro_rules! rows {
    ($($name:literal: $signal:ident, $sensor:ident $(, $gain:expr)?;)*) => {
        &[$(Row::new($name, S::$signal, sensor::$sensor) $(.gain($gain))?),*]
    };
}

pub(super) const ROWS: &[Row] = rows! {
    "active_power": ActivePower, POWER;
    "available_power": AvailablePower, EXACT_POWER;
    "active_power_setpoint": Setpoint, EXACT_POWER;
    "active_power_setpoint_source": SetpointSource, CODE;
    "reactive_power": ReactivePower, REACTIVE;
    "wind_speed": WindPoint, WIND;
    "rotor_speed": RotorSpeed, RPM;
    "generator_speed": GeneratorSpeed, GENERATOR_RPM;
    "pitch_angle_1": Pitch1, PITCH;
    "iec_state": IecState, CODE;
    "operating_state": OperatingState, CODE;
    "grid_frequency": Frequency, HERTZ;
    "alarm_code": AlarmCode, CODE;
    "reactive_power_setpoint": ReactiveSetpoint, REACTIVE_SET;
    "reactive_power_setpoint_source": ReactiveSource, CODE;
    "power_factor_setpoint": PowerFactorSetpoint, FACTOR;
    "power_factor": PowerFactor, FACTOR;
    "potential_power_met_mast": MetMastPower, EXACT_POWER;
    "curtailment_level": CurtailmentLevel, LEVEL;
    "curtailment_reason": CurtailmentReason, CODE;
    "derate_level": DerateLevel, LEVEL;
    "derate_reason": DerateReason, CODE;
    "noise_mode": NoiseMode, SWITCH;
    "shadow_flicker_stop": ShadowStop, SWITCH;
    "ice_detected": Ice, SWITCH;
    "bat_curtailment_active": BatStop, SWITCH;
    "grid_connected": GridConnected, SWITCH;
    "service_mode": Service, SWITCH;
    "remote_control_enabled": Remote, SWITCH;
    "emergency_stop_chain": StopChain, SWITCH;
    "brake_state": Brake, SWITCH;
    "pitch_angle_2": Pitch2, PITCH;
    "pitch_angle_3": Pitch3, PITCH;
    "wind_direction": WindDirection, DIRECTION;
    "nacelle_position": Nacelle, COMPASS;
    "wind_speed_anemometer_1": WindPoint, WIND;
    "wind_speed_anemometer_2": WindPoint, WIND;
    "energy_export": EnergyExport, COUNT;
    "energy_import": EnergyImport, COUNT;
    "reactive_energy_export": ReactiveExport, COUNT;
    "reactive_energy_import": ReactiveImport, COUNT;
    "operating_hours": OperatingSeconds, COUNT;
    "generator_hours": GeneratorSeconds, COUNT;
    "pitch_motor_current_1": PitchCurrent1, SMALL_CURRENT;
    "pitch_motor_temperature_1": PitchMotor, TEMP;
    "pitch_battery_voltage_1": PitchBattery, BATTERY;
    "pitch_battery_temperature_1": PitchBatteryTemperature, TEMP;
    "pitch_cabinet_temperature_1": PitchCabinet, TEMP;
    "pitch_rate_1": PitchRate, RATE;
    "pitch_motor_torque_1": PitchTorque, PERCENT_SIGNED;
    "pitch_bearing_temperature_1": PitchBearing, TEMP;
    "pitch_motor_current_2": PitchCurrent2, SMALL_CURRENT;
    "pitch_motor_temperature_2": PitchMotor, TEMP;
    "pitch_battery_voltage_2": PitchBattery, BATTERY;
    "pitch_battery_temperature_2": PitchBatteryTemperature, TEMP;
    "pitch_cabinet_temperature_2": PitchCabinet, TEMP;
    "pitch_rate_2": PitchRate, RATE;
    "pitch_motor_torque_2": PitchTorque, PERCENT_SIGNED;
    "pitch_bearing_temperature_2": PitchBearing, TEMP;
    "pitch_motor_current_3": PitchCurrent3, SMALL_CURRENT;
    "pitch_motor_temperature_3": PitchMotor, TEMP;
    "pitch_battery_voltage_3": PitchBattery, BATTERY;
    "pitch_battery_temperature_3": PitchBatteryTemperature, TEMP;
    "pitch_cabinet_temperature_3": PitchCabinet, TEMP;
    "pitch_rate_3": PitchRate, RATE;
    "pitch_motor_torque_3": PitchTorque, PERCENT_SIGNED;
    "pitch_bearing_temperature_3": PitchBearing, TEMP;
    "blade_root_flap_moment_1": Flap1, MOMENT;
    "blade_root_edge_moment_1": Edge1, MOMENT;
    "blade_root_flap_moment_2": Flap2, MOMENT;
    "blade_root_edge_moment_2": Edge2, MOMENT;
    "blade_root_flap_moment_3": Flap3, MOMENT;
    "blade_root_edge_moment_3": Edge3, MOMENT;
    "hub_temperature": Hub, TEMP;
    "rotor_position": RotorPosition, COMPASS;
    "main_bearing_front_temperature": MainFront, TEMP;
    "main_bearing_rear_temperature": MainRear, TEMP;
    "main_bearing_grease_pressure": GreasePressure, BAR_LOW;
    "main_shaft_torque": ShaftTorque, MOMENT;
    "main_shaft_axial_displacement": AxialDisplacement, MILLIMETRE;
    "main_bearing_front_vibration_0p1_10hz": MainLow, BAND_LOW;
    "main_bearing_front_vibration_10_1000hz": MainVelocity, BAND;
    "main_bearing_rear_vibration_0p1_10hz": MainLow, BAND_LOW;
    "main_bearing_rear_vibration_10_1000hz": MainVelocity, BAND, 0.85;
    "gearbox_oil_temperature": OilTemperature, TEMP;
    "gearbox_oil_inlet_temperature": OilInlet, TEMP;
    "gearbox_oil_pressure": OilPressure, BAR_FINE;
    "gearbox_oil_pump_pressure": PumpPressure, BAR_FINE;
    "gearbox_oil_filter_difference": FilterDifference, BAR_FINE;
    "gearbox_oil_level": OilLevel, LENGTH;
    "gearbox_oil_flow": OilFlow, FLOW;
    "gearbox_oil_particles_fine": ParticlesFine, PARTICLES;
    "gearbox_oil_particles_coarse": ParticlesCoarse, PARTICLES;
    "gearbox_oil_moisture": OilMoisture, PERCENT;
    "gearbox_cooler_inlet_temperature": CoolerInlet, TEMP;
    "gearbox_cooler_outlet_temperature": CoolerOutlet, TEMP;
    "gearbox_planet_bearing_temperature": PlanetBearing, TEMP;
    "gearbox_intermediate_front_bearing_temperature": IntermediateFront, TEMP;
    "gearbox_intermediate_rear_bearing_temperature": IntermediateRear, TEMP;
    "gearbox_high_speed_front_bearing_temperature": HighSpeedFront, TEMP;
    "gearbox_high_speed_rear_bearing_temperature": HighSpeedRear, TEMP;
    "gearbox_planet_vibration_0p1_10hz": PlanetLow, BAND_LOW;
    "gearbox_planet_vibration_10_1000hz": PlanetVelocity, BAND;
    "gearbox_planet_vibration_10_2000hz": PlanetAcceleration, BAND;
    "gearbox_planet_envelope": PlanetEnvelope, BAND;
    "gearbox_intermediate_vibration_0p1_10hz": IntermediateLow, BAND_LOW;
    "gearbox_intermediate_vibration_10_1000hz": IntermediateVelocity, BAND;
    "gearbox_intermediate_vibration_10_2000hz": IntermediateAcceleration, BAND;
    "gearbox_intermediate_envelope": IntermediateEnvelope, BAND;
    "gearbox_high_speed_vibration_0p1_10hz": HighSpeedLow, BAND_LOW;
    "gearbox_high_speed_vibration_10_1000hz": HighSpeedVelocity, BAND;
    "gearbox_high_speed_vibration_10_2000hz": HighSpeedAcceleration, BAND;
    "gearbox_high_speed_envelope": HighSpeedEnvelope, BAND;
    "generator_winding_u_temperature": WindingU, TEMP;
    "generator_winding_v_temperature": WindingV, TEMP;
    "generator_winding_w_temperature": WindingW, TEMP;
    "generator_bearing_drive_end_temperature": DriveEnd, TEMP;
    "generator_drive_end_vibration_10_1000hz": GeneratorVelocity, BAND;
    "generator_drive_end_vibration_10_5000hz": GeneratorAcceleration, BAND;
    "generator_drive_end_envelope": GeneratorEnvelope, BAND;
    "generator_bearing_non_drive_end_temperature": NonDriveEnd, TEMP;
    "generator_non_drive_end_vibration_10_1000hz": GeneratorVelocity, BAND, 0.85;
    "generator_non_drive_end_vibration_10_5000hz": GeneratorAcceleration, BAND, 0.85;
    "generator_non_drive_end_envelope": GeneratorEnvelope, BAND, 0.85;
    "generator_torque": GeneratorTorque, TORQUE;
    "generator_slip_ring_temperature": SlipRing, TEMP;
    "generator_cooling_air_temperature": CoolingAir, TEMP;
    "generator_coolant_inlet_temperature": CoolantIn, TEMP;
    "generator_coolant_outlet_temperature": CoolantOut, TEMP;
    "generator_stator_voltage": StatorVoltage, VOLT;
    "generator_stator_current": StatorCurrent, AMPERE;
    "generator_rotor_current": RotorCurrent, AMPERE;
    "generator_brush_wear": BrushWear, WEAR;
    "generator_shaft_earth_current": ShaftCurrent, AMPERE;
    "converter_grid_side_igbt_u_temperature": GridSideIgbt, TEMP;
    "converter_grid_side_igbt_v_temperature": GridSideIgbt, TEMP;
    "converter_grid_side_igbt_w_temperature": GridSideIgbt, TEMP;
    "converter_grid_side_current": GridSideCurrent, AMPERE;
    "converter_grid_side_power": GridSidePower, SLIP_POWER;
    "converter_rotor_side_igbt_u_temperature": RotorSideIgbt, TEMP;
    "converter_rotor_side_igbt_v_temperature": RotorSideIgbt, TEMP;
    "converter_rotor_side_igbt_w_temperature": RotorSideIgbt, TEMP;
    "converter_rotor_side_current": RotorSideCurrent, AMPERE;
    "converter_rotor_side_power": RotorSidePower, SLIP_POWER;
    "converter_dc_link_voltage": DcLink, VOLT;
    "converter_choke_temperature": Choke, TEMP;
    "converter_cabinet_temperature": ConverterCabinet, TEMP;
    "converter_coolant_temperature": ConverterCoolant, TEMP;
    "converter_coolant_pressure": ConverterPressure, BAR_FINE;
    "converter_coolant_flow": ConverterFlow, FLOW;
    "converter_chopper_temperature": Chopper, TEMP;
    "converter_state": ConverterState, CODE;
    "transformer_winding_u_temperature": TransformerWinding, TEMP;
    "transformer_winding_v_temperature": TransformerWinding, TEMP;
    "transformer_winding_w_temperature": TransformerWinding, TEMP;
    "transformer_core_temperature": TransformerCore, TEMP;
    "transformer_room_temperature": TransformerRoom, TEMP;
    "transformer_oil_temperature": TransformerOil, TEMP;
    "transformer_tap_position": Tap, CODE;
    "grid_voltage_l1": Voltage, VOLT, ROOT_THIRD;
    "grid_voltage_l2": Voltage, VOLT, ROOT_THIRD;
    "grid_voltage_l3": Voltage, VOLT, ROOT_THIRD;
    "grid_voltage_l12": Voltage, VOLT;
    "grid_voltage_l23": Voltage, VOLT;
    "grid_voltage_l31": Voltage, VOLT;
    "grid_current_l1": Current, AMPERE;
    "grid_current_l2": Current, AMPERE;
    "grid_current_l3": Current, AMPERE;
    "grid_voltage_distortion_l1": VoltageDistortion, PERCENT_FINE;
    "grid_voltage_distortion_l2": VoltageDistortion, PERCENT_FINE;
    "grid_voltage_distortion_l3": VoltageDistortion, PERCENT_FINE;
    "grid_current_distortion_l1": CurrentDistortion, PERCENT_FINE;
    "grid_current_distortion_l2": CurrentDistortion, PERCENT_FINE;
    "grid_current_distortion_l3": CurrentDistortion, PERCENT_FINE;
    "medium_voltage": Voltage, KILOVOLT, 20.0 / 690.0;
    "medium_voltage_current": Current, AMPERE, 690.0 / 20_000.0;
    "apparent_power": ApparentPower, EXACT_POWER;
    "hydraulic_pressure": HydraulicPressure, BAR;
    "hydraulic_oil_temperature": HydraulicOil, TEMP;
    "hydraulic_oil_level": HydraulicLevel, LENGTH;
    "hydraulic_accumulator_pressure": AccumulatorPressure, BAR;
    "hydraulic_filter_difference": HydraulicFilter, BAR_FINE;
    "brake_disc_1_temperature": BrakeDisc, HOT;
    "brake_pad_1_wear": PadWear, WEAR;
    "brake_disc_2_temperature": BrakeDisc, HOT;
    "brake_pad_2_wear": PadWear, WEAR;
    "brake_pressure": BrakePressure, BAR;
    "yaw_motor_current_1": YawMotorCurrent, SMALL_CURRENT;
    "yaw_motor_temperature_1": YawMotor, TEMP;
    "yaw_motor_current_2": YawMotorCurrent, SMALL_CURRENT;
    "yaw_motor_temperature_2": YawMotor, TEMP;
    "yaw_motor_current_3": YawMotorCurrent, SMALL_CURRENT;
    "yaw_motor_temperature_3": YawMotor, TEMP;
    "yaw_motor_current_4": YawMotorCurrent, SMALL_CURRENT;
    "yaw_motor_temperature_4": YawMotor, TEMP;
    "yaw_error": YawError, ERROR;
    "yaw_rate": YawRate, RATE;
    "yaw_brake_pressure": YawBrakePressure, BAR;
    "yaw_state": YawActive, SWITCH;
    "cable_twist": CableTwist, TWIST;
    "yaw_turns": YawTurns, COUNT;
    "yaw_starts": YawStarts, COUNT;
    "tower_acceleration_fore_aft": TowerFore, SWAY, 0.8;
    "tower_vibration_fore_aft_0p1_10hz": TowerForeRms, BAND_LOW, 0.8;
    "nacelle_acceleration_fore_aft": TowerFore, SWAY;
    "nacelle_vibration_fore_aft_0p1_10hz": TowerForeRms, BAND_LOW;
    "tower_inclination_fore_aft": InclinationFore, SLOPE;
    "tower_acceleration_side_side": TowerSide, SWAY, 0.8;
    "tower_vibration_side_side_0p1_10hz": TowerSideRms, BAND_LOW, 0.8;
    "nacelle_acceleration_side_side": TowerSide, SWAY;
    "nacelle_vibration_side_side_0p1_10hz": TowerSideRms, BAND_LOW;
    "tower_inclination_side_side": InclinationSide, SLOPE;
    "nacelle_vibration_vertical_0p1_10hz": Vertical, BAND_LOW;
    "tower_base_moment_fore_aft": BaseFore, MOMENT;
    "tower_base_moment_side_side": BaseSide, MOMENT;
    "ambient_temperature": Ambient, TEMP;
    "nacelle_temperature": NacelleAir, TEMP;
    "air_pressure": AirPressure, PRESSURE;
    "relative_humidity": Humidity, PERCENT;
    "air_density": Density, DENSITY;
    "wind_vane_1": VaneDirection, DIRECTION;
    "wind_vane_2": VaneDirection, DIRECTION;
    "turbulence_intensity": Turbulence, PERCENT;
    "wind_shear_exponent": Shear, FACTOR;
    "rain_intensity": Rain, RAIN;
    "lightning_strikes": Lightning, COUNT;
    "gearbox_oil_pump_low_on": PumpLow, SWITCH;
    "gearbox_oil_pump_high_on": PumpHigh, SWITCH;
    "gearbox_oil_heater_on": OilHeater, SWITCH;
    "gearbox_cooler_fan_1_on": OilFan1, SWITCH;
    "gearbox_cooler_fan_2_on": OilFan2, SWITCH;
    "generator_cooler_fan_1_on": GeneratorFan1, SWITCH;
    "generator_cooler_fan_2_on": GeneratorFan2, SWITCH;
    "generator_heater_on": GeneratorHeater, SWITCH;
    "generator_coolant_pump_on": CoolantPump, SWITCH;
    "converter_coolant_pump_on": ConverterPump, SWITCH;
    "converter_cooler_fan_on": ConverterFan, SWITCH;
    "converter_heater_on": ConverterHeater, SWITCH;
    "transformer_fan_1_on": TransformerFan1, SWITCH;
    "transformer_fan_2_on": TransformerFan2, SWITCH;
    "hydraulic_pump_on": HydraulicPump, SWITCH;
    "nacelle_fan_1_on": NacelleFan1, SWITCH;
    "nacelle_fan_2_on": NacelleFan2, SWITCH;
    "nacelle_heater_on": NacelleHeater, SWITCH;
    "main_bearing_grease_pump_on": GreasePump, SWITCH;
    "yaw_grease_pump_on": YawGrease, SWITCH;
    "pitch_grease_pump_on": PitchGrease, SWITCH;
    "anemometer_heater_on": AnemometerHeater, SWITCH;
    "tower_fan_on": TowerFan, SWITCH;
    "blade_heating_on": BladeHeating, SWITCH;
    "tower_door_state": TowerDoor, SWITCH;
    "nacelle_hatch_state": NacelleHatch, SWITCH;
    "hub_hatch_state": HubHatch, SWITCH;
    "transformer_door_state": TransformerDoor, SWITCH;
    "main_breaker_state": MainBreaker, SWITCH;
    "medium_voltage_breaker_state": MediumBreaker, SWITCH;
    "ups_on_battery": OnBattery, SWITCH;
    "smoke_detector_nacelle_state": Zero, SWITCH;
    "smoke_detector_tower_state": Zero, SWITCH;
    "aviation_light_on": Aviation, SWITCH;
    "aviation_light_fault": Zero, SWITCH;
    "lift_in_use": Lift, SWITCH;
    "tower_base_cabinet_temperature": TowerCabinet, TEMP;
    "tower_base_cabinet_humidity": CabinetHumidity, PERCENT;
    "tower_base_supply_24v": Supply, SUPPLY;
    "tower_base_supply_current": SupplyCurrent, SUPPLY_CURRENT;
    "nacelle_cabinet_temperature": NacelleCabinet, TEMP;
    "nacelle_cabinet_humidity": CabinetHumidity, PERCENT;
    "nacelle_supply_24v": Supply, SUPPLY;
    "nacelle_supply_current": SupplyCurrent, SUPPLY_CURRENT, 1.6;
    "hub_cabinet_temperature": HubCabinet, TEMP;
    "hub_cabinet_humidity": CabinetHumidity, PERCENT;
    "hub_supply_24v": Supply, SUPPLY;
    "hub_supply_current": SupplyCurrent, SUPPLY_CURRENT;
    "ups_battery_voltage": UpsVoltage, SUPPLY;
    "ups_battery_temperature": UpsBattery, TEMP;
    "ups_load": UpsLoad, PERCENT;
    "auxiliary_power": AuxiliaryPower, AUXILIARY;
    "controller_cpu_load": CpuLoad, PERCENT;
    "controller_memory_used": MemoryUsed, PERCENT;
    "controller_cycle_time_max": CycleTime, CYCLE;
    "controller_temperature": Controller, TEMP;
    "fieldbus_cycle_jitter": Jitter, JITTER;
    "fieldbus_errors": FieldbusErrors, COUNT;
    "fieldbus_retries": FieldbusRetries, COUNT;
    "network_errors": NetworkErrors, COUNT;
    "controller_restarts": Restarts, COUNT;
    "pitch_encoder_difference_1": EncoderOff1, ENCODER;
    "pitch_limit_switch_1": Feathered, SWITCH;
    "pitch_drive_state_1": PitchDrive, CODE;
    "pitch_encoder_difference_2": EncoderOff2, ENCODER;
    "pitch_limit_switch_2": Feathered, SWITCH;
    "pitch_drive_state_2": PitchDrive, CODE;
    "pitch_encoder_difference_3": EncoderOff3, ENCODER;
    "pitch_limit_switch_3": Feathered, SWITCH;
    "pitch_drive_state_3": PitchDrive, CODE;
    "tower_top_temperature": TowerTop, TEMP;
    "tower_middle_temperature": TowerMiddle, TEMP;
    "tower_base_temperature": TowerBase, TEMP;
    "gearbox_housing_temperature": Housing, TEMP;
};

/// Channels of other profiles: around one bearing, SCADA records of ten minutes, a machine that an American watches.
pub(super) const OTHERS: &[Row] = &[
    Row::new(
        "gearbox_bearing_temperature",
        S::HighSpeedFront,
        sensor::TEMP,
    ),
    Row::new(
        "gearbox_bearing_vibration",
        S::HighSpeedVelocity,
        sensor::BAND,
    ),
    Row::new(
        "gearbox_bearing_envelope",
        S::HighSpeedEnvelope,
        sensor::BAND,
    ),
    Row::new("yaw_angle", S::Nacelle, sensor::COMPASS),
    Row::new("pitch_angle", S::Pitch1, sensor::PITCH),
    Row::new("generator_rpm", S::GeneratorSpeed, sensor::GENERATOR_RPM),
    // state 1 is full performance, and no loss
    Row::new("running_loss_category", S::IecState, sensor::CODE),
    Row::new("shutdown_duration", S::Standing, sensor::SWITCH).over(Statistic::Seconds),
    Row::new("power_clipped", S::ActivePower, sensor::PART_POWER).over(Statistic::Mean),
    // Fahrenheit
    Row::new("machine_temperature", S::DriveEnd, sensor::HOT)
        .gain(1.8)
        .offset(32.0),
];
