// Decides requests by IAM policies, with @cloud-copilot/iam-simulate (docs/adr/0007-policy-engines.md).
//
// stdin:  {"policies": [policy, ...],
//          "cases": [{principal, action, resource, account, identity: [index, ...], resourcePolicy: index | null, besides: index | null, context}],
//          "mutants": [{"place": index, "policy": policy, "concerned": [index of a case, ...]}]}
// stdout: {"decisions": [bool, ...], "noticed": [index of the first case that a mutant changes, or -1, ...]}
//
// The engine's public simulation drops every kms:EncryptionContext key, so its core is used, by file: the
// version is pinned.
import fs from 'node:fs'
const base = new URL('.', import.meta.resolve('@cloud-copilot/iam-simulate'))
const core = path => import(new URL(path, base))
const {authorize} = await core('core_engine/CoreSimulatorEngine.js')
const {AwsRequestImpl} = await core('request/request.js')
const {RequestContextImpl} = await core('requestContext.js')
const {DiscoveryContextKeyConstraints} = await core('context_keys/discoveryContextKeyConstraints.js')
const {loadPolicy} = await import('@cloud-copilot/iam-policy')

// The engine wants service and resource control policies to be there; AWS's default ones allow everything.
const everything = {Effect: 'Allow', Action: '*', Resource: '*'}
const version = {Version: '2012-10-17'}
const organization = (name, statement) =>
  [{orgIdentifier: 'root', policies: [loadPolicy({...version, Statement: [statement]}, {name})]}]
const scp = organization('scp', everything)
const rcp = organization('rcp', {...everything, Principal: '*'})
const parameters = {simulationMode: 'Strict', discoveryContextKeyConstraints: new DiscoveryContextKeyConstraints([])}

const {policies, cases, mutants} = JSON.parse(fs.readFileSync(0))
const load = (policy, index) => loadPolicy(policy, {name: `policy ${index}`})
const loaded = policies.map(load)
const requests = cases.map(c => new AwsRequestImpl(
  c.principal, {resource: c.resource, accountId: c.account}, c.action, new RequestContextImpl(c.context)))

const merged = (policy, other) => load({...policy, Statement: [...policy.Statement, ...other.Statement]})

function isAllowed(index, policyAt, documentAt) {
  const c = cases[index]
  return authorize({
    request: requests[index],
    identityPolicies: c.identity.map(policyAt),
    resourcePolicy: c.resourcePolicy === null ? undefined
      : c.besides === null ? policyAt(c.resourcePolicy)
      : merged(documentAt(c.resourcePolicy), policies[c.besides]),
    permissionBoundaries: undefined,
    serviceControlPolicies: c.principal.startsWith('arn:') ? scp : [],
    resourceControlPolicies: rcp,
    sessionPolicy: undefined,
    vpcEndpointPolicies: undefined,
    serviceSettings: {s3: {}},
    simulationParameters: parameters,
  }).result === 'Allowed'
}

const decisions = cases.map((_, index) => isAllowed(index, i => loaded[i], i => policies[i]))
const noticed = mutants.map(({place, policy, concerned}) => {
  const changed = load(policy, place)
  const policyAt = i => i === place ? changed : loaded[i]
  const documentAt = i => i === place ? policy : policies[i]
  return concerned.find(index => isAllowed(index, policyAt, documentAt) !== decisions[index]) ?? -1
})
console.log(JSON.stringify({decisions, noticed}))
