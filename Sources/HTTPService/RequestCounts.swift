import Synchronization

/// How many requests of each kind had which end.
final class RequestCounts: Sendable {
  private struct Key: Hashable {
    var route: String
    var status: Int
  }

  private let counts = Mutex<[Key: Int]>([:])

  /// - Parameters:
  ///   - route: one of few, not what a client wrote.
  ///   - status: of HTTP.
  func count(_ route: String, _ status: Int) {
    counts.withLock { $0[Key(route: route, status: status), default: 0] += 1 }
  }

  /// As Prometheus reads them.
  var text: String {
    let counts = counts.withLock { $0 }.sorted { ($0.key.route, $0.key.status) < ($1.key.route, $1.key.status) }
    return counts.map {
      "sharedpack_http_requests_total{route=\"\($0.key.route)\",status=\"\($0.key.status)\"} \($0.value)\n"
    }
    .joined()
  }
}
