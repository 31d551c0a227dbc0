package rootfs

import (
	"net/http"
	"path"
	"strings"
	"unicode/utf8"
)

// maxPath is the longest path of a URL that can name a file.
const maxPath = 4096

// fileName turns the path of a URL, which net/http has decoded once, into a
// name for Open. Otherwise it returns the status to refuse it with.
func fileName(urlPath string) (name string, status int) {
	if len(urlPath) > maxPath {
		return "", http.StatusRequestURITooLong
	}
	if !utf8.ValidString(urlPath) {
		return "", http.StatusBadRequest
	}
	for i := range len(urlPath) {
		if c := urlPath[i]; c < 0x20 || c == 0x7f || c == '\\' {
			return "", http.StatusBadRequest
		}
	}
	segments := strings.FieldsFunc(urlPath, func(r rune) bool { return r == '/' })
	for _, segment := range segments {
		if segment == "." || segment == ".." {
			return "", http.StatusBadRequest
		}
	}
	if len(segments) == 0 || strings.HasSuffix(urlPath, "/") {
		return "", http.StatusNotFound // a directory, whether it exists or not
	}
	return strings.Join(segments, "/"), 0
}

// contentType returns the media type of a file. UEFI HTTP Boot goes by it where
// it can (UEFI 2.10 section 24.7), everyone else by what is in the file.
func contentType(name string) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".efi":
		return "application/efi"
	case ".iso":
		return "application/vnd.efi-iso"
	case ".img":
		return "application/vnd.efi-img"
	case ".cfg", ".conf", ".ini", ".ipxe", ".json", ".ks", ".md5", ".msg", ".preseed",
		".sh", ".sha256", ".sha512", ".txt", ".yaml", ".yml":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}
