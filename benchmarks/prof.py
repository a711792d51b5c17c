import sys,time,base64,contextlib,os; sys.path[:0]=['/work/main/src','/work/main']
from local.traffic import Traffic
from routing.routes import load_routes
from routing.decode import Decoder
from routing.pipeline import process
import pybase64,msgspec
from isal import igzip
T=load_routes(open(os.environ.get('RT','/work/main/src/routing/routes.toml')).read())
d=Decoder(T.paths)
tr=Traffic(1); t0=time.time()
recs=[tr.contact_record() for _ in range(2000)]; print("gen",time.time()-t0)
print(sum(map(len,recs))/len(recs))
base=49651069415459828167084584974714785136462334983055343634
def event(recs): return {"Records":[{"kinesis":{"kinesisSchemaVersion":"1.0","partitionKey":"x","sequenceNumber":str(base+i*1000),"data":base64.b64encode(r).decode(),"approximateArrivalTimestamp":1772413962.881+i*.01},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":f"shardId-000000000001:{base+i*1000}","eventName":"aws:kinesis:record","invokeIdentityArn":"a","awsRegion":"ap-northeast-1","eventSourceARN":"arn:aws:kinesis:ap-northeast-1:111122223333:stream/contact-records"} for i,r in enumerate(recs)]}
E=event(recs)
out=[]
class S:
    def put_all(self,o): out[:]=o; return [None]*len(o)
class C:
    watermarks={}
    def commit(self,d,release): pass
    @contextlib.contextmanager
    def claim(self,shard): yield self
def pipe(): return process(E,decoder=d,table=T,sink=S(),checkpoint=C())
pipe(); bodies=[igzip.decompress(o.body) for o in out]; print([(o.key[:30],o.record_count) for o in out])
def floor():
    dec=d._decode; b=pybase64.b64decode
    for r in E["Records"]: dec(b(r["kinesis"]["data"],validate=True))
    for x in bodies: igzip.compress(x,2)
def t(f,k=15):
    best=9
    for _ in range(k):
        s=time.perf_counter(); f(); best=min(best,time.perf_counter()-s)
    return best/len(recs)*1e6
for i in range(3): a,b=t(pipe),t(floor); print(a,b,a/b)
if len(sys.argv)>1:
    import cProfile,pstats
    p=cProfile.Profile(); p.enable(); [pipe() for _ in range(10)]; p.disable(); pstats.Stats(p).sort_stats('tottime').print_stats(14)
from routing.decode import _envelopes
from routing.batch import group
from routing.render import render
from routing.report import Report
print("envelopes",t(lambda:_envelopes(E)))
print("decode",t(lambda:d.decode(E)))
sh,R=d.decode(E)
print("route",t(lambda:[(r,T.routes_for(r)) for r in R]))
routed=[(r,T.routes_for(r)) for r in R]
print("group",t(lambda:group(routed,{},Report())))
B=group(routed,{},Report())
print("render",t(lambda:[render(b,sh) for b in B]))
print("gzip",t(lambda:[igzip.compress(x,2) for x in bodies]))
print("join",t(lambda:[b"\n".join([r.data for r in b.records]) for b in B]))
from isal import isal_zlib
print("crc",t(lambda:[isal_zlib.crc32(x) for x in bodies]))
print("dec",t(lambda:[d._decode(r) for r in recs]))
b64=[r["kinesis"]["data"] for r in E["Records"]]
print("b64",t(lambda:[pybase64.b64decode(x,validate=True) for x in b64]))
print("read",t(lambda:[d._read(r) for r in recs]))
fs=[d._decode(r) for r in recs]
print("kind",t(lambda:[d._kind(f) for f in fs]))
print("render",t(lambda:[render(b,sh) for b in B]))
def jg():
    for b in B:
        x=b"\n".join([r.data for r in b.records]); y=igzip.compress(x,2,mtime=0)
print("join+gzip",t(jg))
print("gzip mtime0",t(lambda:[igzip.compress(x,2,mtime=0) for x in bodies]))
es=_envelopes(E)
from routing.model import Record
from routing.decode import _shard_of,_positions
print("shard",t(lambda:_shard_of(es)),"pos",t(lambda:_positions(es)))
def a():
    out=[]
    for e in es: out.append(pybase64.b64decode(e.kinesis.data,validate=True))
print("b64 keep",t(a))
def b():
    out=[]
    for e in es: 
        raw=pybase64.b64decode(e.kinesis.data,validate=True)
        out.append(d._read(raw))
print("b64+read keep",t(b))
def c():
    for e in es: 
        raw=pybase64.b64decode(e.kinesis.data,validate=True)
        d._read(raw)
print("b64+read drop",t(c))
def c():
    for e in es: 
        raw=pybase64.b64decode(e.kinesis.data,validate=True)
        d._decode(raw)
print("b64+dec drop",t(c))
print("--- variants")
dec=d._decode; kind=d._kind; b64d=pybase64.b64decode; MAG=b"\xf3\x89\x9a\xc2"; WS=b" \t\r\n"
import routing.decode as D
def v1():
    es=_envelopes(E); _shard_of(es); out=[]
    for p,e in zip(_positions(es),es,strict=True):
        k=e.kinesis
        try:
            raw=b64d(k.data,validate=True)
            parts = (raw,) if not raw.startswith(MAG) else ()
        except ValueError: pass
        for part in parts:
            try:
                data=part.strip(WS)
                if not data.isascii(): D._check_utf8(data)
                f=dec(data)
                if b"\n" in data or b"\r" in data: data=D.on_one_line(data)
            except RecursionError: pass
            else: out.append(Record(kind(f),data,f,k.sequenceNumber,p,k.approximateArrivalTimestamp))
    return out
print("v1",t(v1))
def v2():
    es=_envelopes(E); _shard_of(es); out=[]
    raws=[b64d(e.kinesis.data,validate=True) for e in es]
    for p,e,raw in zip(_positions(es),es,raws,strict=True):
        k=e.kinesis
        data=raw.strip(WS)
        if not data.isascii(): D._check_utf8(data)
        f=dec(data)
        if b"\n" in data or b"\r" in data: data=D.on_one_line(data)
        out.append(Record(kind(f),data,f,k.sequenceNumber,p,k.approximateArrivalTimestamp))
    return out
print("v2",t(v2))
def v3():
    es=_envelopes(E); _shard_of(es); out=[]
    for p,e in zip(_positions(es),es,strict=True):
        k=e.kinesis
        raw=b64d(k.data,validate=True)
        data=raw.strip(WS)
        f=dec(data)
        out.append(Record(kind(f),data,f,k.sequenceNumber,p,k.approximateArrivalTimestamp))
    return out
print("v3 no scans",t(v3))
nonascii=sum(not r.isascii() for r in recs)/len(recs); print("nonascii",nonascii)
print("utf8",t(lambda:[D._check_utf8(r) for r in recs if not r.isascii()]))
print("nl",t(lambda:[b"\n" in r for r in recs]))
import gc; gc.disable(); print("nogc",t(pipe))
