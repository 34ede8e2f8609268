# SPDX-License-Identifier: GPL-2.0
"""Emulated POWER9 powernv machine for tools/testing/kunit/kunit.py --qemu_config.

The configuration comes from configs/ by way of scripts/lib/build-kernel, so there
is none here; vmlinux.boot is what that leaves in the build directory.
"""

from ..qemu_config import QemuArchParams

QEMU_ARCH = QemuArchParams(
    linux_arch='powerpc',
    kconfig='',
    qemu_arch='ppc64',
    kernel_path='vmlinux.boot',
    # 7.x runs no test by itself unless told to.
    kernel_command_line='console=hvc0 slub_debug=P panic=-1 oops=panic kunit.autorun=1',
    # kunit.py gives -nodefaults, which takes the management controller away;
    # the firmware needs one to reboot, and that is how the run ends.
    extra_qemu_params=['-M', 'powernv9', '-m', '2G', '-smp', '2',
                       '-accel', 'tcg,thread=multi',
                       '-device', 'ipmi-bmc-sim,id=bmc0',
                       '-device', 'isa-ipmi-bt,bmc=bmc0,irq=10',
                       # A device of two functions without a driver, for tests of windows.
                       '-device', 'pnv-phb,chip-id=0,index=0,id=phb0',
                       '-device', 'pnv-phb-root-port,bus=phb0,id=port0',
                       '-device', 'edu,bus=port0,addr=0.0,multifunction=on',
                       '-device', 'edu,bus=port0,addr=0.1'])
