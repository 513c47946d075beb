"""Boards with a microcontroller that people run policies on, and what they offer.

Sizes are those of the makers, in bytes, a kB of theirs taken as 1024: Nordic nRF52840 product specification
(Nano 33 BLE); Renesas RA4M1 data sheet (Uno R4); Raspberry Pi RP2040 and RP2350 data sheets and the boards'
own (Pico, Pico 2); ST data sheets of STM32F103C8 (Blue Pill), STM32F405 (Crazyflie 2.1, of whose RAM 64 kB
are coupled to the core and not counted), STM32F446RE (Nucleo) and STM32H753 (Pixhawk 6X: the 512 kB of
its largest contiguous RAM); PJRC's page of the Teensy 4.1 (512 kB coupled to the core); Espressif's
data sheets of ESP32 and ESP32-C3 (of the ESP32's 520 kB, the 320 kB of data memory; of the C3's 400 kB, those
that are no cache).
"""

from __future__ import annotations

from dataclasses import dataclass

from grandopt.errors import ConfigError

KB = 1024

M0 = ("-mcpu=cortex-m0plus", "-mthumb")
M3 = ("-mcpu=cortex-m3", "-mthumb")
M4F = ("-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
M7 = ("-mcpu=cortex-m7", "-mthumb", "-mfpu=fpv5-d16", "-mfloat-abi=hard")
M33 = ("-mcpu=cortex-m33", "-mthumb", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard")


@dataclass(frozen=True)
class Board:
    """A board: its processor, the flags of that for GCC (none where it is no Arm core), flash and RAM."""

    name: str
    processor: str
    flags: tuple[str, ...]
    flash_bytes: int
    ram_bytes: int


BOARDS: tuple[Board, ...] = (
    Board("arduino-nano-33-ble", "Cortex-M4F", M4F, 1024 * KB, 256 * KB),
    Board("arduino-uno-r4", "Cortex-M4F", M4F, 256 * KB, 32 * KB),
    Board("blue-pill", "Cortex-M3", M3, 64 * KB, 20 * KB),
    Board("crazyflie-2.1", "Cortex-M4F", M4F, 1024 * KB, 128 * KB),
    Board("nucleo-f446re", "Cortex-M4F", M4F, 512 * KB, 128 * KB),
    Board("pixhawk-6x", "Cortex-M7", M7, 2048 * KB, 512 * KB),
    Board("raspberry-pi-pico", "Cortex-M0+", M0, 2048 * KB, 264 * KB),
    Board("raspberry-pi-pico-2", "Cortex-M33", M33, 4096 * KB, 520 * KB),
    Board("teensy-4.1", "Cortex-M7", M7, 7936 * KB, 512 * KB),
    Board("esp32", "Xtensa LX6", (), 4096 * KB, 320 * KB),
    Board("esp32-c3", "RISC-V", (), 4096 * KB, 384 * KB),
)
COMMON = M4F
"""What is measured where no board is named: the core that most of them have."""


def board(name: str) -> Board:
    """The board of that name; raises ConfigError with the names for another."""
    for known in BOARDS:
        if known.name == name:
            return known
    raise ConfigError(f"board {name!r} is not known; choose one of {', '.join(one.name for one in BOARDS)}")
