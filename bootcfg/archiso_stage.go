package bootcfg

import (
	"net/url"
	"path"
)

// archisoStage is the part of the boot that SystemRescue and Arch Linux share:
// archiso's hooks in the initramfs, which fetch or mount the root file system.
//
// The hooks run the values of archiso_*_srv through a shell's eval, as root: a
// '$', '`', ';' or quote would be executed, and '&' would cut the rest off. The
// other values become assignments, by a shell as well.
type archisoStage struct {
	baseDir string
	// tftp says that the hooks fetch each file once. Those of Arch Linux ask
	// for its first byte beforehand, and TFTP sends all of it.
	tftp              bool
	checksum          bool
	verify, cmsVerify bool
	copyToRAM         CopyMode
	copyToRAMSize     string
	cowSpaceSize      string
	cowLabel, cowDir  string
	nfsOptions        []string
}

// params adds the parameters of the stage.
func (a *archisoStage) params(w *paramWriter, root *url.URL) {
	w.value("archisobasedir", a.baseDir, formDir, noDir, "give its path, as sysresccd or arch, without slashes at its ends")
	// Without ip= there is no network at all in the initramfs.
	w.params = append(w.params, "ip=dhcp")
	if w.root(root, a.source) {
		if options := w.nfsOptions(a.nfsOptions, root.Scheme); options != "" {
			w.params = append(w.params, "archiso_nfs_opt="+options)
		}
		if root.Scheme != "nfs" && root.Scheme != "nbd" {
			w.fetched(a.copyToRAM, root.Scheme)
		}
	}
	w.flag(a.checksum, "checksum")
	w.flag(a.verify, "verify=y")
	w.flag(a.cmsVerify, "cms_verify=y")
	w.copyMode(a.copyToRAM)
	w.flag(a.copyToRAM == CopyAlways, "copytoram")
	w.flag(a.copyToRAM == CopyNever, "copytoram=n")
	w.value("copytoram_size", a.copyToRAMSize, formSize, noSize, sizeRemedy)
	w.value("cow_spacesize", a.cowSpaceSize, formSize, noSize, sizeRemedy)
	w.value("cow_label", a.cowLabel, formWord, "is no label", "use letters, digits and '-._'")
	w.value("cow_directory", a.cowDir, formPath, "is no path", "give an absolute path of letters, digits and '-._~+/'")
}

// source names the root file system at u. HTTP goes to curl, which decodes; the
// others to programs that do not.
func (a *archisoStage) source(u *url.URL) ([]string, flaw) {
	const known = "http, https, nfs or nbd"
	switch u.Scheme {
	case "tftp":
		if !a.tftp {
			return nil, flaw{"is TFTP, by which this initramfs would fetch the root file system twice", "use " + known}
		}
		fallthrough
	case "http", "https":
		base, f := baseText(u, "http", "https", "tftp")
		return []string{"archiso_http_srv=" + base}, f
	case "nfs":
		export, f := nfsSource(u)
		return []string{"archiso_nfs_srv=" + export}, f
	case "nbd":
		host, export, f := nbdSource(u)
		if f == (flaw{}) && u.Port() != "" && u.Port() != "10809" {
			f = flaw{"has a port that the initramfs cannot be told", "serve NBD on port 10809"}
		}
		if export == "" {
			export = "archiso" // what the initramfs asks for by default
		}
		return []string{"archiso_nbd_srv=" + host, "archiso_nbd_name=" + export}, f
	}
	if a.tftp {
		return nil, unknownScheme("http, https, tftp, nfs or nbd")
	}
	return nil, unknownScheme(known)
}

// rootFiles returns the names of the files that the initramfs fetches: the root
// file system, named image, and what proves it. There are none by NFS and NBD.
func (a *archisoStage) rootFiles(root *url.URL, image string) []string {
	if root.Scheme == "nfs" || root.Scheme == "nbd" {
		return nil
	}
	files := []string{image}
	if a.checksum {
		files = append(files, path.Dir(image)+"/airootfs.sha512")
	}
	if a.verify {
		files = append(files, image+".sig")
	}
	if a.cmsVerify {
		files = append(files, image+".cms.sig")
	}
	return files
}

// refuse returns what is wrong with an extra parameter of archiso's.
func (a *archisoStage) refuse(key string) flaw {
	switch key {
	case "ip":
		return elsewhere("remove it: it is always ip=dhcp, and more would hide the DNS servers")
	case "archisobasedir":
		return elsewhere("set BaseDir")
	case "archiso_http_srv", "archiso_nfs_srv", "archiso_nbd_srv", "archiso_nbd_name":
		return elsewhere("give it as the root URL")
	case "archiso_nfs_opt":
		return elsewhere("set NFSOptions")
	case "copytoram":
		return elsewhere("set CopyToRAM")
	case "checksum":
		return elsewhere("set Checksum")
	case "archisodevice", "archisolabel", "archisosearchuuid", "archisosearchfilename", "img_dev", "img_label", "img_loop":
		// The initramfs would look on a disk, or in an image on one.
		return flaw{"names a local medium", "remove it: the root file system is the root argument"}
	}
	return flaw{}
}
