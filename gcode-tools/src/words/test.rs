use super::{Effect, Firmwares, Heater, effect, effect_of_any, effect_of_command, effect_of_system, table};
use crate::time::Firmware;

#[test]
fn rows_are_in_order_so_that_they_are_found() {
    for rows in [table::G, table::M] {
        assert!(rows.windows(2).all(|pair| pair[0].0 <= pair[1].0));
    }
}

#[test]
fn no_row_hides_behind_another_of_the_same_code() {
    for rows in [table::G, table::M] {
        for (at, row) in rows.iter().enumerate() {
            let before = rows[..at].iter().rev().take_while(|before| before.0 == row.0);
            let taken = before.fold(Firmwares(0), |taken, before| taken.and(before.1));
            assert!(row.1.but(taken).meets(Firmwares::ALL), "{row:?} says nothing that is not said before");
        }
    }
}

#[test]
fn each_firmware_has_its_own_words() {
    assert_eq!(effect(Firmware::Grbl, b'G', 10), Effect::Moves);
    assert_eq!(effect(Firmware::Grbl, b'G', 640), Effect::Unknown);
    assert_eq!(effect(Firmware::Grbl, b'M', 60), Effect::Unknown);
    assert_eq!(effect(Firmware::GrblHal, b'G', 810), Effect::Moves);
    assert_eq!(effect(Firmware::LinuxCnc, b'G', 640), Effect::Mode);
    assert_eq!(effect(Firmware::Marlin, b'M', 920), Effect::Settings { writes: false });
    assert!(effect(Firmware::Marlin, b'M', 8623).is_known());
    assert_eq!(effect(Firmware::Marlin, b'M', 3020), Effect::Unprotects);
    assert_eq!(effect(Firmware::Marlin, b'M', 44440), Effect::Unknown);
    assert_eq!(effect(Firmware::Klipper, b'G', 200), Effect::Refused);
    assert_eq!(effect(Firmware::Marlin, b'G', 100), Effect::Retracts);
    assert_eq!(effect(Firmware::RepRapFirmware, b'G', 100), Effect::Heats { heater: Heater::Tool, waits: false });
}

#[test]
fn what_ends_a_mills_program_ends_no_printers() {
    for code in [20, 300] {
        assert_eq!(effect(Firmware::Grbl, b'M', code), Effect::Ends);
        assert_eq!(effect(Firmware::LinuxCnc, b'M', code), Effect::Ends);
        assert_ne!(effect(Firmware::Marlin, b'M', code), Effect::Ends);
        assert_ne!(effect(Firmware::Klipper, b'M', code), Effect::Ends);
    }
    assert!(!effect(Firmware::Marlin, b'M', 20).is_known(), "Marlin says that it knows no M2");
    assert_eq!(effect(Firmware::RepRapFirmware, b'M', 20), Effect::Ends, "of its own card");
}

#[test]
fn an_optional_stop_stops_only_where_the_firmware_has_one() {
    for firmware in [Firmware::Grbl, Firmware::FluidNc] {
        assert_eq!(effect(firmware, b'M', 10), Effect::Nothing);
        assert_eq!(effect(firmware, b'M', 0), Effect::Person);
    }
    for firmware in [Firmware::GrblHal, Firmware::LinuxCnc, Firmware::Marlin] {
        assert_eq!(effect(firmware, b'M', 10), Effect::Person);
    }
    // Which it is need not be known to go carefully.
    assert!(effect_of_any(Firmwares::CNC, b'M', 10).waits_for_person());
}

#[test]
fn what_waits_is_known_to_wait() {
    for code in [0, 10, 60, 250, 2260, 2910, 6000, 6010] {
        assert!(effect_of_any(Firmwares::PRINTERS, b'M', code).waits_for_person(), "M{}", code / 10);
    }
    for code in [1090, 1160, 1900, 1910, 3030] {
        assert!(effect_of_any(Firmwares::PRINTERS, b'M', code).takes_minutes(), "M{}", code / 10);
    }
    for code in [280, 290] {
        assert!(effect_of_any(Firmwares::PRINTERS, b'G', code).takes_minutes(), "G{}", code / 10);
    }
}

#[test]
fn commands_in_words_are_known_by_name_and_all_others_are_macros_of_klipper() {
    assert_eq!(effect_of_command(Firmware::Klipper, b"RESTORE_GCODE_STATE NAME=x MOVE=1"), Effect::Restores);
    assert_eq!(effect_of_command(Firmware::Klipper, b"print_start BED=60"), Effect::Macro);
    assert_eq!(effect_of_command(Firmware::Klipper, b"EXCLUDE_OBJECT_START NAME=a"), Effect::Talks);
    assert_eq!(effect_of_command(Firmware::Klipper, b"SOMETHING_ELSE"), Effect::Macro);
    assert_eq!(effect_of_command(Firmware::Marlin, b"PRINT_START"), Effect::Unknown);
    assert_eq!(effect_of_command(Firmware::RepRapFirmware, b"while true"), Effect::NotFollowed);
    assert_eq!(effect_of_system(b"$130=9"), Effect::Settings { writes: true });
    assert_eq!(effect_of_system(b"$RST=*"), Effect::Settings { writes: true });
    assert_eq!(effect_of_system(b"$H"), Effect::Homes);
    assert_eq!(effect_of_system(b"$SLP"), Effect::Halts);
    assert_eq!(effect_of_system(b"$WHAT"), Effect::Unknown);
}
