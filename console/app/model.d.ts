// What the API answers, as far as the console uses it.

export interface Me {
  id: string;
  email: string;
  username: string;
  roles: string[];
}

export interface User {
  id: string;
  email: string | null;
  username: string | null;
  is_active: boolean;
  email_verified: boolean;
  created_at: string;
  roles: string[];
  version: number;
  position: number;
}

export interface UserPage {
  users: User[];
  next?: string;
}

export type Value = boolean | string | number | string[] | { erased: true } | null | undefined;

export interface HistoryEvent {
  position: number;
  version: number;
  type: string;
  at: string;
  actor: string;
  request_id: string;
  reason?: string | { erased: true };
  changes: { field: string; from?: Value; to?: Value }[];
}

export interface Login {
  number: number;
  position: number;
  at: string;
  succeeded: boolean;
  failures?: number;
  count?: number;
  reason?: string;
  address: string | null;
  user_agent: string | null;
}

export interface Session {
  id: string;
  created_at: string;
  last_used_at: string;
  expires_at: string;
  address: string | null;
  user_agent: string | null;
}

export interface Day {
  day: string;
  registered: number;
  active: number;
  logins: number;
  failed_logins?: number;
}

export interface Stats {
  registered: number;
  active: number;
  deactivated: number;
  erased: number;
  position: number;
  days: Day[];
}

export interface ProjectionVersion {
  version: number;
  fold: number;
  role: string;
  state: string;
  position: number;
  lag: number;
  lag_seconds: number;
  rate: number;
  percent?: number;
  eta_seconds?: number;
  differed?: boolean;
  error?: string;
  by: string;
  since: string;
}

export interface Projection {
  name: string;
  live: number;
  owner?: string;
  head: number;
  versions: ProjectionVersion[];
}

export interface Webhook {
  id: string;
  owner: string;
  url?: string;
  types: string[];
  description?: string;
  state: string;
  failing?: { position: number; since: string; attempts: number; next_attempt_at: string; error: string };
  suspended?: string;
  waiting?: string;
  unreadable?: string;
  position: number;
  previous: number;
  replays: number;
  created_at: string;
}

export interface Attempt {
  number: number;
  at: string;
  position: number;
  type: string;
  attempt: number;
  replay: boolean;
  delivered: boolean;
  status: number | null;
  error: string | null;
  latency_ms: number;
}

export interface AegisEvent {
  id: string;
  type: string;
  subject: string;
  time: string;
  position: number;
  actor: string;
  data: Record<string, unknown>;
}

export interface EventPage {
  events: AegisEvent[];
  next: number;
  head: number;
}

export interface InclusionProof {
  position: number;
  event: string;
  leaf: string;
  size: number;
  root: string;
  proof: string[];
  checkpoint: string;
}

export interface ConsistencyProof {
  from: number;
  to: number;
  from_root: string;
  to_root: string;
  proof: string[];
}

export interface MachineToken {
  id: string;
  name: string;
  roles: string[];
  state: string;
  issued_at: string;
  issued_by: string;
  expires_at: string | null;
  last_used_on: string | null;
  revoked_at: string | null;
  token?: string;
}
