/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which secrets open which services: what stands in such a file, where it usually is, and the ports behind which it is asked for.
 *
 *     BH_CREDENTIAL(ID, "what it is called", BH_LIST(paths as patterns), BH_LIST(ports))
 *
 * The first that a path is like counts. What opens services of clouds alone is not here: no container is behind these.
 */
BH_CREDENTIAL(SSH_KEY, "SSH key", BH_LIST("*/.ssh/id_*", "*/.ssh/*.pem"), BH_LIST(22, 2222))
BH_CREDENTIAL(SERVICE_ACCOUNT, "service account's token", BH_LIST("*secrets/kubernetes.io/serviceaccount/*token*"), BH_LIST(443, 6443, 8443, 10250))
BH_CREDENTIAL(CLUSTER, "access to the cluster", BH_LIST("*/.kube/config", "*/etc/kubernetes/*.conf", "*/kubelet.conf", "*/etc/kubernetes/pki/*.key"), BH_LIST(443, 2379, 6443, 8443, 10250))
BH_CREDENTIAL(ENGINE, "key of a Docker Engine", BH_LIST("*/.docker/*.pem"), BH_LIST(2376))
BH_CREDENTIAL(REGISTRY, "login of a registry", BH_LIST("*/.docker/config.json"), BH_LIST(443, 5000))
BH_CREDENTIAL(POSTGRES, "database password", BH_LIST("*/.pgpass"), BH_LIST(5432, 6432))
BH_CREDENTIAL(MYSQL, "database password", BH_LIST("*/.my.cnf", "*/.mylogin.cnf"), BH_LIST(3306))
BH_CREDENTIAL(SOURCES, "login of a source server", BH_LIST("*/.git-credentials"), BH_LIST(80, 443, 3000))
BH_CREDENTIAL(PACKAGES, "login of a package server", BH_LIST("*/.npmrc", "*/.pypirc"), BH_LIST(80, 443, 4873, 8081))
BH_CREDENTIAL(NETRC, "login", BH_LIST("*/.netrc"), BH_LIST(21, 80, 443))
BH_CREDENTIAL(SECRET, "secret", BH_LIST("/run/secrets/*", "/var/run/secrets/*"), BH_LIST(22, 1433, 2379, 3306, 5432, 5672, 6379, 9042, 9200, 27017))
#undef BH_CREDENTIAL
