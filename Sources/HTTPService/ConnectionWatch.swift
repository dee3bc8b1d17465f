import HTTPTypes
import NIOCore
import NIOHTTPTypes
import Synchronization

/// What a connection is doing.
private enum ConnectionState {
  /// Nothing of a request has come.
  case idle
  /// The head of a request is there, and its body is coming.
  case receiving
  /// The answer is being made.
  case answering
}

/// All connections of a server. One too many takes the place of the one that has been idle longest.
final class ConnectionList: Sendable {
  private struct Entry {
    var channel: any Channel
    var isIdle = true
    /// Whether it is being closed to make room.
    var givesWay = false
    var since: UInt64
    /// What is done for the client.
    var task: Task<Void, any Error>?
  }

  private struct State {
    var entries: [ObjectIdentifier: Entry] = [:]
    var clock: UInt64 = 0
  }

  private let state = Mutex(State())
  private let limit: Int

  init(limit: Int) { self.limit = limit }

  var count: Int { state.withLock { $0.entries.count } }

  func add(_ channel: any Channel) {
    let surplus: (any Channel)? = state.withLock { state in
      state.clock += 1
      state.entries[ObjectIdentifier(channel)] = Entry(channel: channel, since: state.clock)
      guard state.entries.values.count(where: { !$0.givesWay }) > limit else { return nil }
      let idle = state.entries.filter { $0.value.isIdle && !$0.value.givesWay }
      guard let oldest = idle.min(by: { $0.value.since < $1.value.since }) else { return nil }
      state.entries[oldest.key]?.givesWay = true
      return oldest.value.channel
    }
    surplus?.close(promise: nil)
  }

  /// Forgets a connection; nothing more is done for its client.
  func remove(_ channel: any Channel) {
    state.withLock { $0.entries.removeValue(forKey: ObjectIdentifier(channel)) }?.task?.cancel()
  }

  /// Says what is done for a client, and is cancelled when it leaves.
  func set(_ channel: any Channel, task: Task<Void, any Error>?) {
    let isThere = state.withLock { state in
      state.entries[ObjectIdentifier(channel)]?.task = task
      return state.entries[ObjectIdentifier(channel)] != nil
    }
    if !isThere { task?.cancel() }
  }

  func set(_ channel: any Channel, isIdle: Bool) {
    state.withLock { state in
      state.clock += 1
      state.entries[ObjectIdentifier(channel)]?.isIdle = isIdle
      state.entries[ObjectIdentifier(channel)]?.since = state.clock
    }
  }
}

/// Closes a connection whose client is slow, idle or gone. A client that ends its side while it waits is taken to be
/// gone: nothing else would tell before the next token.
final class ConnectionWatch: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPRequestPart
  typealias InboundOut = HTTPRequestPart
  typealias OutboundIn = HTTPResponsePart
  typealias OutboundOut = HTTPResponsePart

  private let settings: ServerSettings
  private let connections: ConnectionList
  private var state = ConnectionState.idle
  private var deadline: Scheduled<Void>?
  private var writeDeadline: Scheduled<Void>?
  /// Bytes of a body since its deadline was set.
  private var received = 0
  private var isListed = false
  private var closesAfterAnswer = false

  /// Seconds in which a client may read why its connection is closed, while what it still sends is thrown away.
  private static let lingerSeconds = 2
  /// A body that comes in smaller steps than this gets no more time.
  private static let step = 16 << 10

  init(_ settings: ServerSettings, _ connections: ConnectionList) {
    self.settings = settings
    self.connections = connections
  }

  func handlerAdded(context: ChannelHandlerContext) {
    if context.channel.isActive { begin(context) }
  }

  func channelActive(context: ChannelHandlerContext) {
    begin(context)
    context.fireChannelActive()
  }

  private func begin(_ context: ChannelHandlerContext) {
    guard !isListed else { return }
    isListed = true
    connections.add(context.channel)
    close(context, after: settings.headSeconds)
  }

  func channelInactive(context: ChannelHandlerContext) {
    end(context)
    context.fireChannelInactive()
  }

  func handlerRemoved(context: ChannelHandlerContext) { end(context) }

  private func end(_ context: ChannelHandlerContext) {
    deadline?.cancel()
    writeDeadline?.cancel()
    connections.remove(context.channel)
  }

  /// Sets the time at which the connection is closed.
  private func close(_ context: ChannelHandlerContext, after seconds: Int) {
    deadline?.cancel()
    let channel = context.channel
    deadline = context.eventLoop.scheduleTask(in: .seconds(Int64(seconds))) { channel.close(promise: nil) }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head:
      state = .receiving
      received = 0
      connections.set(context.channel, isIdle: false)
      close(context, after: settings.bodySeconds)
    case .body(let bytes):
      received += bytes.readableBytes
      if !closesAfterAnswer, received >= Self.step {
        received = 0
        close(context, after: settings.bodySeconds)
      }
    case .end:
      state = .answering
      deadline?.cancel()
    }
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    switch unwrapOutboundIn(data) {
    case .head(let head): closesAfterAnswer = head.headerFields[.connection] == "close"
    case .body: break
    case .end where closesAfterAnswer:
      connections.set(context.channel, isIdle: true)
      context.writeAndFlush(data, promise: promise)
      context.close(mode: .output, promise: nil)
      return close(context, after: Self.lingerSeconds)
    case .end where state == .answering:
      state = .idle
      connections.set(context.channel, isIdle: true)
      close(context, after: settings.idleSeconds)
    case .end: break
    }
    context.write(data, promise: promise)
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    writeDeadline?.cancel()
    writeDeadline = nil
    if !context.channel.isWritable {
      let channel = context.channel
      writeDeadline = context.eventLoop.scheduleTask(in: .seconds(Int64(settings.writeSeconds))) {
        channel.close(promise: nil)
      }
    }
    context.fireChannelWritabilityChanged()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if let event = event as? ChannelEvent, event == .inputClosed {
      context.close(promise: nil)
    }
    context.fireUserInboundEventTriggered(event)
  }
}
