package check

import (
	_ "github.com/claimlinc/nphiesq/internal/config"
	_ "github.com/claimlinc/nphiesq/tasks"
	_ "github.com/compose-spec/compose-go/v2/loader"
	_ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	_ "github.com/prometheus/prometheus/promql/parser"
	_ "github.com/prometheus/prometheus/model/rulefmt"
	_ "github.com/stretchr/testify/require"
	_ "gopkg.in/yaml.v3"
	_ "helm.sh/helm/v3/pkg/chart/loader"
	_ "helm.sh/helm/v3/pkg/engine"
	_ "helm.sh/helm/v3/pkg/lint"
	_ "k8s.io/client-go/kubernetes/scheme"
	_ "sigs.k8s.io/yaml"
)
