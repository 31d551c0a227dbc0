package vm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// localDisk is what the local disks of this package say on the serial port when a
// machine boots from them.
const localDisk = "PXEKIT local-disk"

// bootSector is 16-bit code for address 0x7c00, where a BIOS puts a disk's first
// sector. It writes the text behind it to the first serial port, and stops.
var bootSector = []byte{
	0x31, 0xc0, //             xor ax, ax
	0x8e, 0xd8, //             mov ds, ax
	0xfc,             //       cld
	0xbe, 0x21, 0x7c, //       mov si, 0x7c21      ; the text, right behind
	0xac,       //       next: lodsb
	0x84, 0xc0, //             test al, al
	0x74, 0x11, //             jz end
	0x88, 0xc4, //             mov ah, al
	0xba, 0xfd, 0x03, //       mov dx, 0x3fd       ; line status
	0xec,       //       wait: in al, dx
	0xa8, 0x20, //             test al, 0x20       ; may it be written to?
	0x74, 0xfb, //             jz wait
	0xb2, 0xf8, //             mov dl, 0xf8        ; 0x3f8: data
	0x88, 0xe0, //             mov al, ah
	0xee,       //             out dx, al
	0xeb, 0xea, //             jmp next
	0xf4,       //        end: hlt
	0xeb, 0xfd, //             jmp end
}

// BIOSDisk writes a disk image for [Machine].Disk into dir and returns its path. A
// BIOS machine that boots from it says "PXEKIT local-disk", and nothing more.
func BIOSDisk(dir string) (string, error) {
	image := make([]byte, 1<<20) // firmware takes the smallest disks for damaged ones
	n := copy(image, bootSector)
	copy(image[n:], "\r\n"+localDisk+"\r\n\x00")
	image[510], image[511] = 0x55, 0xaa // the mark of a boot sector
	name := filepath.Join(dir, "bios-disk.img")
	if err := os.WriteFile(name, image, 0o644); err != nil {
		return "", fmt.Errorf("vm: local disk: %w", err)
	}
	return name, nil
}

// UEFIDisk is [BIOSDisk] for 64-bit UEFI on x86: what it boots is a GRUB, where
// firmware looks for the boot program of a disk that nobody has set up. It needs
// what [GRUBx64] does.
func UEFIDisk(ctx context.Context, dir string) (string, error) {
	t := &tree{dir: filepath.Join(dir, "uefi-disk")}
	t.mkdir("EFI/BOOT")
	config := filepath.Join(dir, "uefi-disk.cfg")
	if t.err == nil {
		t.err = os.WriteFile(config, []byte("echo "+localDisk+"\nsleep 86400\n"), 0o644)
	}
	if t.err != nil {
		return "", fmt.Errorf("vm: local disk: %w", t.err)
	}
	return t.dir, run(ctx, "grub-mkimage", "-O", "x86_64-efi", "-p", "/", "-c", config,
		"-o", filepath.Join(t.dir, "EFI/BOOT/BOOTX64.EFI"), "normal", "echo", "sleep")
}

// diskArguments plug a disk into a machine, in the given place of its boot order.
func diskArguments(disk string, bootIndex int) ([]string, error) {
	info, err := os.Stat(disk)
	if err != nil {
		return nil, fmt.Errorf("vm: local disk: %w", err)
	}
	if info.IsDir() {
		disk = "fat:" + disk
	}
	return []string{
		"-drive", "if=none,id=disk,format=raw,readonly=on,file=" + disk,
		"-device", fmt.Sprintf("virtio-blk-pci,drive=disk,bootindex=%d", bootIndex),
	}, nil
}
