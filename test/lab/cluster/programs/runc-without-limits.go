// Stands before runc: takes limits out of a container's configuration, then becomes runc.
//
// For a machine whose cgroup v2 has no cpu, memory and pids controllers, where runc would refuse to start anything.
package main

import (
	"encoding/json"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
)

func main() {
	args := os.Args[1:]
	if slices.Contains(args, "update") {
		return // There is nothing to change.
	}
	for i, arg := range args {
		if arg == "--bundle" && i+1 < len(args) && slices.Contains(args, "create") {
			if err := liftLimits(filepath.Join(args[i+1], "config.json")); err != nil {
				log.Fatal(err)
			}
		}
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(syscall.Exec(runc, append([]string{"runc"}, args...), os.Environ()))
}

// liftLimits keeps of linux.resources only the rules about devices, which need no controller.
func liftLimits(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return err
	}
	if linux, ok := config["linux"].(map[string]any); ok {
		if resources, ok := linux["resources"].(map[string]any); ok {
			linux["resources"] = map[string]any{"devices": resources["devices"]}
		}
	}
	if text, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
