// Reads, pins and publishes bundles, written from docs/protocol alone. It answers the requests of
// `warmswap conformance`: one JSON object per line.
package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lukechampine.com/blake3"
)

const format = "warmswap bundles 1\n"

var (
	pointer     = regexp.MustCompile(`^gens/(\d{6}|[1-9]\d{6,})/tree$`)
	errFormat   = errors.New("another format")
	errEmpty    = errors.New("the tree has no file and no link")
	errNothing  = errors.New("nothing is published")
	pins        = map[int]*os.File{}
	maxNumber   = int64(1) << 52
	operations  = map[string]func(request) (any, error){}
	writerLimit = 30 * time.Second
)

type request struct {
	ID   int    `json:"id"`
	Do   string `json:"do"`
	Root string `json:"root"`
	From string `json:"from"`
	Pin  int    `json:"pin"`
}

type damaged struct{ why string }

func (d damaged) Error() string { return d.why }

type entry struct {
	Path   string `json:"path"`
	Mode   uint32 `json:"mode"`
	Type   string `json:"type"`
	Size   *int64 `json:"size,omitempty"`
	Hash   string `json:"hash,omitempty"`
	Target string `json:"target,omitempty"`
}

type manifest struct {
	Digest  string  `json:"digest"`
	Entries []entry `json:"entries"`
}

func name(number int64) string { return fmt.Sprintf("%06d", number) }

func checkFormat(root string) error {
	text, err := os.ReadFile(filepath.Join(root, "FORMAT"))
	if err == nil && string(text) != format {
		err = errFormat
	}
	return err
}

// current returns 0 if nothing is published.
func current(root string) (int64, error) {
	text, err := os.Readlink(filepath.Join(root, "current"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	match := pointer.FindStringSubmatch(text)
	if match == nil {
		return 0, damaged{"current points to " + text}
	}
	number, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil || number > maxNumber {
		return 0, damaged{"current points to " + text}
	}
	return number, nil
}

func openLocked(path string, flags int, how int) (*os.File, bool, error) {
	file, err := os.OpenFile(path, flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, false, err
	}
	err = syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
	if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
		file.Close()
		return nil, false, err
	}
	return file, err == nil, nil
}

// pinCurrent follows "To read" of the protocol, steps 1 to 5.
func pinCurrent(root string) (int64, *os.File, error) {
	seen := int64(0)
	for {
		number, err := current(root)
		if err != nil {
			return 0, nil, err
		}
		if number == 0 {
			return 0, nil, errNothing
		}
		file, locked, err := openLocked(filepath.Join(root, "pins", name(number)), os.O_RDONLY, syscall.LOCK_SH)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, nil, damaged{err.Error()}
		}
		if err == nil {
			pinned, err := isPinned(root, number, file, locked)
			if pinned || err != nil {
				return number, file, err
			}
			file.Close()
		}
		if seen == number && !locked {
			return 0, nil, damaged{fmt.Sprintf("generation %d has no lock file, or one that is locked", number)}
		}
		seen = number
	}
}

func isPinned(root string, number int64, file *os.File, locked bool) (bool, error) {
	status, err := file.Stat()
	if err != nil {
		return false, err
	}
	if !status.Mode().IsRegular() {
		return false, damaged{fmt.Sprintf("the lock file of generation %d is not a regular file", number)}
	}
	again, err := current(root)
	return locked && status.Sys().(*syscall.Stat_t).Nlink > 0 && again == number, err
}

// verify compares a pinned tree with its manifest if something was added, removed or renamed at its top.
func verify(root string, number int64, pin *os.File) error {
	generation := filepath.Join(root, "gens", name(number))
	var tree syscall.Stat_t
	if err := syscall.Lstat(filepath.Join(generation, "tree"), &tree); err != nil {
		return damaged{err.Error()}
	}
	status, err := pin.Stat()
	if err != nil {
		return err
	}
	if status.Sys().(*syscall.Stat_t).Mtim == tree.Ctim {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(generation, "manifest.json"))
	if err != nil {
		return damaged{err.Error()}
	}
	var expected manifest
	if err := json.Unmarshal(text, &expected); err != nil {
		return damaged{err.Error()}
	}
	for _, each := range expected.Entries {
		status, err := os.Lstat(filepath.Join(generation, "tree", each.Path))
		if err != nil || (each.Type == "file" && status.Size() != *each.Size) {
			return damaged{each.Path + " is missing or altered"}
		}
	}
	return nil
}

func read(asked request) (any, error) {
	number, pin, err := pinCurrent(asked.Root)
	if err != nil {
		return nil, err
	}
	defer pin.Close()
	if err := verify(asked.Root, number, pin); err != nil {
		return nil, err
	}
	files := map[string]string{}
	tree := filepath.Join(asked.Root, "gens", name(number), "tree")
	err = filepath.WalkDir(tree, func(path string, found fs.DirEntry, err error) error {
		if err != nil || !found.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		files[path[len(tree)+1:]] = string(text)
		return err
	})
	return map[string]any{"number": number, "files": files}, err
}

func pin(asked request) (any, error) {
	number, file, err := pinCurrent(asked.Root)
	if err != nil {
		return nil, err
	}
	pins[int(file.Fd())] = file
	tree := filepath.Join(asked.Root, "gens", name(number), "tree")
	return map[string]any{"pin": file.Fd(), "number": number, "tree": tree}, nil
}

func release(asked request) (any, error) {
	file := pins[asked.Pin]
	delete(pins, asked.Pin)
	return map[string]any{}, file.Close()
}

func currentNumber(asked request) (any, error) {
	number, err := current(asked.Root)
	if number == 0 {
		return map[string]any{"number": nil}, err
	}
	return map[string]any{"number": number}, err
}

// copyTree copies a folder with the permissions of the protocol and returns its manifest.
func copyTree(from, to string) (manifest, error) {
	result := manifest{Entries: []entry{}}
	leaves := 0
	err := filepath.WalkDir(from, func(path string, found fs.DirEntry, err error) error {
		if err != nil || path == from {
			return err
		}
		relative := path[len(from)+1:]
		each, err := copyEntry(path, filepath.Join(to, relative), found)
		if each.Type != "directory" {
			leaves++
		}
		each.Path = relative
		result.Entries = append(result.Entries, each)
		return err
	})
	if err == nil && leaves == 0 {
		err = errEmpty
	}
	sort.Slice(result.Entries, func(a, b int) bool { return result.Entries[a].Path < result.Entries[b].Path })
	result.Digest = digest(result.Entries)
	return result, err
}

func copyEntry(from, to string, found fs.DirEntry) (entry, error) {
	info, err := found.Info()
	if err != nil {
		return entry{}, err
	}
	mode := uint32(info.Mode().Perm())
	switch {
	case found.IsDir():
		if err := os.Mkdir(to, 0o755); err != nil {
			return entry{}, err
		}
		return entry{Mode: mode, Type: "directory"}, os.Chmod(to, info.Mode().Perm())
	case found.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err == nil {
			err = os.Symlink(target, to)
		}
		return entry{Mode: 0o777, Type: "symlink", Target: target}, err
	case !found.Type().IsRegular():
		return entry{}, fmt.Errorf("%s is neither a file nor a link", from)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return entry{}, err
	}
	mode = mode&0o555 | 0o400
	if err := os.WriteFile(to, text, 0o600); err != nil {
		return entry{}, err
	}
	hash := blake3.Sum256(text)
	size := int64(len(text))
	return entry{Mode: mode, Type: "file", Size: &size, Hash: hex.EncodeToString(hash[:])}, os.Chmod(to, fs.FileMode(mode))
}

func digest(entries []entry) string {
	hasher := blake3.New(32, nil)
	for _, each := range entries {
		fields := []string{each.Type, each.Path, strconv.FormatUint(uint64(each.Mode), 8)}
		switch each.Type {
		case "file":
			fields = append(fields, strconv.FormatInt(*each.Size, 10), each.Hash)
		case "symlink":
			fields = append(fields, each.Target)
		}
		hasher.Write([]byte(strings.Join(fields, "\x00") + "\x00"))
	}
	return hex.EncodeToString(hasher.Sum(nil))
}

func random() string {
	bytes := make([]byte, 8)
	if _, err := rand.Read(bytes); err != nil {
		panic(err)
	}
	return hex.EncodeToString(bytes)
}

func answer(asked request) map[string]any {
	if asked.Do == "hello" {
		names := []string{}
		for each := range operations {
			names = append(names, each)
		}
		return map[string]any{"ok": map[string]any{"operations": names}}
	}
	err := error(nil)
	if asked.Root != "" {
		err = checkFormat(asked.Root)
	}
	var result any
	if err == nil {
		result, err = operations[asked.Do](asked)
	}
	if err == nil {
		return map[string]any{"ok": result}
	}
	kind := "damaged"
	for word, each := range map[string]error{"format": errFormat, "empty": errEmpty, "nothing": errNothing} {
		if errors.Is(err, each) {
			kind = word
		}
	}
	return map[string]any{"error": kind, "message": err.Error()}
}

func main() {
	syscall.Umask(0o022)
	operations["bundles/current"] = currentNumber
	operations["bundles/read"] = read
	operations["bundles/pin"] = pin
	operations["bundles/release"] = release
	operations["bundles/publish"] = publish
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			panic(err)
		}
		result := answer(asked)
		result["id"] = asked.ID
		text, err := json.Marshal(result)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(text))
	}
}
