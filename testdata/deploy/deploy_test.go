// Package deploy holds what is in deploy/ against the types of those who read it: rendered manifests against Kubernetes' and the
// Prometheus operator's, strictly, and compose.yaml against the Compose specification. .ci/deploy.sh renders and runs it.
package deploy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	compose "github.com/compose-spec/compose-go/v2/types"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// scaledObject is what the chart uses of KEDA's ScaledObject (keda.sh/docs, Scaling Deployments), written down here because
// KEDA's own module brings half of Kubernetes along.
type scaledObject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name   string            `json:"name"`
		Labels map[string]string `json:"labels"`
	} `json:"metadata"`
	Spec struct {
		ScaleTargetRef  struct{ Name string } `json:"scaleTargetRef"`
		MinReplicaCount int32                 `json:"minReplicaCount"`
		MaxReplicaCount int32                 `json:"maxReplicaCount"`
		CooldownPeriod  int32                 `json:"cooldownPeriod"`
		Advanced        struct {
			HorizontalPodAutoscalerConfig struct {
				Behavior autoscaling.HorizontalPodAutoscalerBehavior `json:"behavior"`
			} `json:"horizontalPodAutoscalerConfig"`
		} `json:"advanced"`
		Triggers []struct {
			Type     string            `json:"type"`
			Metadata map[string]string `json:"metadata"`
		} `json:"triggers"`
	} `json:"spec"`
}

// kinds are all that the chart may make.
var kinds = map[string]func() any{
	"v1/ConfigMap":                            func() any { return new(core.ConfigMap) },
	"v1/Secret":                               func() any { return new(core.Secret) },
	"v1/Service":                              func() any { return new(core.Service) },
	"v1/ServiceAccount":                       func() any { return new(core.ServiceAccount) },
	"apps/v1/Deployment":                      func() any { return new(apps.Deployment) },
	"autoscaling/v2/HorizontalPodAutoscaler":  func() any { return new(autoscaling.HorizontalPodAutoscaler) },
	"networking.k8s.io/v1/Ingress":            func() any { return new(networking.Ingress) },
	"networking.k8s.io/v1/NetworkPolicy":      func() any { return new(networking.NetworkPolicy) },
	"policy/v1/PodDisruptionBudget":           func() any { return new(policy.PodDisruptionBudget) },
	"monitoring.coreos.com/v1/PodMonitor":     func() any { return new(monitoring.PodMonitor) },
	"monitoring.coreos.com/v1/PrometheusRule": func() any { return new(monitoring.PrometheusRule) },
	"keda.sh/v1alpha1/ScaledObject":           func() any { return new(scaledObject) },
}

// TestManifests reads what helm rendered, $RENDERED/*.yaml, one file for each set of values.
func TestManifests(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(os.Getenv("RENDERED"), "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing is rendered in RENDERED=%q: run .ci/deploy.sh (%v)", os.Getenv("RENDERED"), err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			names := map[string]bool{}
			var deployment *apps.Deployment
			configured := false
			for _, document := range bytes.Split(content, []byte("\n---\n")) {
				var head struct {
					APIVersion, Kind string
					Metadata         struct{ Name string }
				}
				if err := yaml.Unmarshal(document, &head); err != nil {
					t.Fatalf("%v in\n%s", err, document)
				}
				if head.Kind == "" {
					continue
				}
				kind := head.APIVersion + "/" + head.Kind
				if kinds[kind] == nil {
					t.Fatalf("%s is no kind that is checked here", kind)
				}
				object := kinds[kind]()
				if err := yaml.UnmarshalStrict(document, object); err != nil {
					t.Errorf("%s: %v", kind, err)
				}
				if name := head.Kind + "/" + head.Metadata.Name; head.Metadata.Name == "" || names[name] {
					t.Errorf("%s has no name or stands there twice", name)
				} else {
					names[name] = true
				}
				seen[head.Kind] = true
				switch o := object.(type) {
				case *apps.Deployment:
					deployment = o
				case *core.ConfigMap:
					configured = strings.Contains(o.Data["config.yaml"], "cpus:")
				}
			}
			if deployment == nil {
				t.Fatal("no Deployment")
			}
			if err := checkDeployment(deployment, configured); err != nil {
				t.Error(err)
			}
		})
	}
	for kind := range kinds {
		if name := kind[strings.LastIndex(kind, "/")+1:]; !seen[name] {
			t.Errorf("no set of values renders a %s", name)
		}
	}
}

// checkDeployment tells what the API server takes and what would still go wrong at night.
// configured says that the configuration has limits.cpus.
func checkDeployment(d *apps.Deployment, configured bool) error {
	pod := d.Spec.Template
	for key, value := range d.Spec.Selector.MatchLabels {
		if pod.Labels[key] != value {
			return fmt.Errorf("the selector's label %s is not the pod's", key)
		}
	}
	c := pod.Spec.Containers[0]
	ports := map[string]int32{}
	for _, port := range c.Ports {
		ports[port.Name] = port.ContainerPort
		if pod.Spec.HostNetwork && port.HostPort != port.ContainerPort {
			return fmt.Errorf("port %s is not told to the scheduler as the host's", port.Name)
		}
	}
	env := map[string]string{}
	for _, e := range c.Env {
		env[e.Name] = e.Value
	}
	// A pod that is the only one must not be cut off from its calls. Those with a scaler are several.
	ready := "/startupz"
	if d.Spec.Replicas == nil {
		ready = "/readyz"
	}
	for probe, path := range map[*core.Probe]string{c.StartupProbe: "/startupz", c.LivenessProbe: "/livez", c.ReadinessProbe: ready} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "health" {
			return fmt.Errorf("a probe does not ask for %s at the port of probes", path)
		}
	}
	if port := fmt.Sprint(ports["health"]); port != env["CONNECTOR_HEALTH_PORT"] {
		return fmt.Errorf("the port of probes is %s, the connector's %q", port, env["CONNECTOR_HEALTH_PORT"])
	}
	want := ""
	if request := c.Resources.Requests.Cpu(); !configured && !request.IsZero() {
		want = fmt.Sprint(request.AsApproximateFloat64())
	}
	if cores := env["CONNECTOR_LIMITS_CPUS"]; cores != want {
		return fmt.Errorf("the connector is told of %q cores, not of %q", cores, want)
	}
	if err := checkStop(pod.Spec, env); err != nil {
		return err
	}
	if s := c.SecurityContext; !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !*pod.Spec.SecurityContext.RunAsNonRoot {
		return fmt.Errorf("the container may more than it needs")
	}
	volumes := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		volumes[v.Name] = true
	}
	for _, m := range c.VolumeMounts {
		if !volumes[m.Name] {
			return fmt.Errorf("there is no volume %s", m.Name)
		}
	}
	return nil
}

// checkStop tells whether a pod has the time for its drain, and the hook's connection to the connector.
func checkStop(pod core.PodSpec, env map[string]string) error {
	hook := strings.Join(pod.Containers[0].Lifecycle.PreStop.Exec.Command, " ")
	var admin string
	var wait, delay, stop int64
	if _, err := fmt.Sscanf(hook+" "+env["CONNECTOR_DRAIN_TIMEOUT"],
		"livekit-connector drain --url http://127.0.0.1:%s --timeout %ds --delay %ds %ds", &admin, &wait, &delay, &stop); err != nil {
		return fmt.Errorf("read the preStop hook %s: %w", hook, err)
	}
	if admin != env["CONNECTOR_ADMIN_PORT"] {
		return fmt.Errorf("the preStop hook asks port %s, the connector's is %q", admin, env["CONNECTOR_ADMIN_PORT"])
	}
	// What closes behind a drain takes half a minute if nothing outside answers, and longer on a busy machine.
	if grace := *pod.TerminationGracePeriodSeconds; grace < delay+wait+stop+45 {
		return fmt.Errorf("a grace period of %d s kills a drain of %d s, %d s and %d s", grace, delay, wait, stop)
	}
	return nil
}

// TestCompose loads compose.yaml as "docker compose config" does: schema, interpolation, references, with each profile.
func TestCompose(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{"../../deploy/compose.yaml"}, cli.WithName("connector"), cli.WithProfiles([]string{"*"}), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"livekit", "redis", "connector", "fakemeta", "agent"} {
		if _, ok := project.Services[name]; !ok {
			t.Errorf("no service %s", name)
		}
	}
	for name, service := range project.Services {
		checkService(t, project.WorkingDir, name, service)
	}
}

func checkService(t *testing.T, dir, name string, service compose.ServiceConfig) {
	if service.Build != nil {
		file := service.Build.Dockerfile
		if !filepath.IsAbs(file) {
			file = filepath.Join(service.Build.Context, file)
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if target := service.Build.Target; target != "" && !bytes.Contains(content, []byte(" AS "+target+"\n")) {
			t.Errorf("%s: the Dockerfile has no stage %s", name, target)
		}
	}
	for _, volume := range service.Volumes {
		if volume.Type == "bind" {
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s in %s: %v", name, dir, err)
			}
		}
	}
}
