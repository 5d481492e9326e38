package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

var (
	generation = regexp.MustCompile(`^(?:\d{6}|[1-9]\d{6,})$`)
	errBusy    = errors.New("the lock is held by another process")
)

type moment struct {
	Boot string `json:"boot"`
	Ms   int64  `json:"ms"`
}

type former struct {
	Number int64   `json:"number"`
	Until  int64   `json:"until"`
	Since  *moment `json:"since,omitempty"`
}

type mirror struct {
	Number  int64    `json:"number"`
	Digest  string   `json:"digest"`
	At      int64    `json:"at"`
	History []former `json:"history"`
	Highest int64    `json:"highest"`
	Fence   int64    `json:"fence"`
}

type head struct {
	Number      int64  `json:"number"`
	Digest      string `json:"digest"`
	Files       int64  `json:"files"`
	Bytes       int64  `json:"bytes"`
	PublishedAt int64  `json:"publishedAt"`
	StartedAt   int64  `json:"startedAt"`
	Boot        string `json:"boot"`
	Durability  string `json:"durability"`
}

// publish copies a folder to a stage, and makes it the current generation.
func publish(asked request) (any, error) {
	root, id := asked.Root, random()
	path := filepath.Join(root, "owners", id)
	owner, locked, err := openLocked(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer owner.Close()
	if !locked {
		return nil, errBusy
	}
	stage := filepath.Join(root, "stage", id)
	number, err := stageAndCommit(root, stage, asked.From)
	if err != nil {
		os.RemoveAll(stage)
	}
	os.Remove(path)
	return map[string]any{"number": number}, err
}

func stageAndCommit(root, stage, from string) (int64, error) {
	started := monotonicMicros()
	tree := filepath.Join(stage, "tree")
	if err := os.MkdirAll(tree, 0o755); err != nil {
		return 0, err
	}
	content, err := copyTree(from, tree)
	if err != nil {
		return 0, err
	}
	if err := writeJSON(filepath.Join(stage, "manifest.json"), content); err != nil {
		return 0, err
	}
	writer, err := lockWriter(root)
	if err != nil {
		return 0, err
	}
	defer writer.Close()
	return commit(root, stage, content, started)
}

// lockWriter locks writer.lock, and checks that the path still has the locked file.
func lockWriter(root string) (*os.File, error) {
	path := filepath.Join(root, "writer.lock")
	for until := time.Now().Add(writerLimit); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		file, locked, err := openLocked(path, os.O_RDWR|os.O_CREATE, syscall.LOCK_EX)
		if err != nil {
			return nil, err
		}
		held, err := file.Stat()
		if err != nil {
			return nil, err
		}
		found, err := os.Lstat(path)
		if locked && err == nil && os.SameFile(held, found) {
			return file, nil
		}
		file.Close()
	}
	return nil, errBusy
}

// commit does the steps 1 to 8 of "To publish". The caller has writer.lock.
func commit(root, stage string, content manifest, started int64) (int64, error) {
	known, before, err := readMirror(root)
	if err != nil {
		return 0, err
	}
	number, err := nextNumber(root, max(known.Highest, before))
	if err != nil {
		return 0, err
	}
	if err := writeHead(root, stage, number, content, started); err != nil {
		return 0, err
	}
	pinPath, generationPath := filepath.Join(root, "pins", name(number)), filepath.Join(root, "gens", name(number))
	if err := os.Rename(stage, generationPath); err != nil {
		os.Remove(pinPath)
		return 0, err
	}
	next := mirror{Number: number, Digest: content.Digest, At: time.Now().UnixMilli(), Highest: number, Fence: known.Fence}
	next.History = append(existing(root, known.History), leave(before)...)
	if err := point(root, number, next); err != nil {
		os.Rename(generationPath, stage)
		os.Remove(pinPath)
		return 0, err
	}
	return number, os.Rename(filepath.Join(root, "current.json.tmp"), filepath.Join(root, "current.json"))
}

// readMirror returns current.json and the current number. A mirror that a killed writer left behind is brought up to date:
// the number that it names has stopped being current.
func readMirror(root string) (mirror, int64, error) {
	known := mirror{History: []former{}}
	number, err := current(root)
	if err != nil {
		return known, 0, err
	}
	text, err := os.ReadFile(filepath.Join(root, "current.json"))
	if err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return known, 0, err
	}
	if known.Number != number {
		known.History = append(known.History, leave(known.Number)...)
		known.Highest = max(known.Highest, known.Number)
	}
	return known, number, nil
}

// leave is the entry of a number that stops being current now.
func leave(number int64) []former {
	if number == 0 {
		return nil
	}
	return []former{{number, time.Now().UnixMilli(), &moment{bootID(), monotonicMicros() / 1000}}}
}

func existing(root string, history []former) []former {
	kept := []former{}
	for _, each := range history {
		if _, err := os.Lstat(filepath.Join(root, "pins", name(each.Number))); err == nil {
			kept = append(kept, each)
		}
	}
	return kept
}

func nextNumber(root string, highest int64) (int64, error) {
	for _, folder := range []string{"gens", "pins"} {
		entries, err := os.ReadDir(filepath.Join(root, folder))
		if err != nil {
			return 0, err
		}
		for _, each := range entries {
			number, err := strconv.ParseInt(each.Name(), 10, 64)
			if err == nil && generation.MatchString(each.Name()) && number <= maxNumber {
				highest = max(highest, number)
			}
		}
	}
	return highest + 1, nil
}

// writeHead writes pins/<name>. Its time of change is that of the tree, so that readers notice a changed tree.
func writeHead(root, stage string, number int64, content manifest, started int64) error {
	facts := head{
		Number: number, Digest: content.Digest, PublishedAt: time.Now().UnixMilli(), StartedAt: started,
		Boot: bootID(), Durability: "process",
	}
	for _, each := range content.Entries {
		if each.Type == "file" {
			facts.Files++
			facts.Bytes += *each.Size
		}
	}
	path := filepath.Join(root, "pins", name(number))
	if err := writeJSON(path, facts); err != nil {
		return err
	}
	var tree syscall.Stat_t
	if err := syscall.Lstat(filepath.Join(stage, "tree"), &tree); err != nil {
		return err
	}
	return syscall.UtimesNano(path, []syscall.Timespec{tree.Ctim, tree.Ctim})
}

// point writes the next mirror under a temporary name, and replaces the pointer.
func point(root string, number int64, next mirror) error {
	if err := writeJSON(filepath.Join(root, "current.json.tmp"), next); err != nil {
		return err
	}
	temporary := filepath.Join(root, "current.tmp")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink("gens/"+name(number)+"/tree", temporary); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(root, "current"))
}

func writeJSON(path string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(string(text))
}

func monotonicMicros() int64 {
	var now syscall.Timespec
	const monotonic = 1
	if _, _, code := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, monotonic, uintptr(unsafe.Pointer(&now)), 0); code != 0 {
		panic(code)
	}
	return now.Nano() / 1000
}

func max(a, b int64) int64 {
	if a > b {
		return a
	}
	return b
}
